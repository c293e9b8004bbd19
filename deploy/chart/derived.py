"""All files that are written from something else, and what they must hold."""

from __future__ import annotations

import json
from pathlib import Path

from deploy.chart.dashboards import DASHBOARDS, grafana_json
from deploy.chart.defaults import values_yaml
from deploy.chart.reference import values_page
from deploy.chart.schema import values_schema

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "loramill"


def derived() -> dict[Path, str]:
    """Content by file."""
    defaults = values_yaml()
    return {
        CHART / "values.yaml": defaults,
        CHART / "values.schema.json": json.dumps(values_schema(), indent=2, ensure_ascii=False) + "\n",
        ROOT / "docs" / "helm-values.md": values_page(defaults),
        **{CHART / "dashboards" / f"{each.name}.json": grafana_json(each) for each in DASHBOARDS},
    }
