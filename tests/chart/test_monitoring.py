"""Alerts and dashboards: every query is PromQL about metrics that service and trainer really have; every alert has its page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import promql_parser as promql
import pytest
import torch
import yaml
from prometheus_client import CollectorRegistry

from tests.chart.rendering import CHART, all_of, one, rendered, values_of
from tests.service.runtime.test_measures import large_service
from trainer.metrics import TrainerMetrics

ROOT = CHART.parents[1]
RULES = [*(CHART / "rules").glob("*.yaml")]
RUNBOOKS = ROOT / "docs" / "runbooks"
DASHBOARDS = [*(CHART / "dashboards").glob("*.json")]

FROM_PROMETHEUS = {"instance", "le", "launch", "tenant", "training_job"}
"""Labels that are not the programs' own but the scraping's."""


def rules() -> Iterator[dict[str, Any]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RECORDED = {rule["record"] for rule in rules() if "record" in rule}


@pytest.fixture(scope="module")
def measured() -> dict[str, set[str]]:
    """Labels by series name, of service and trainer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        for name, answer in {
            "utilization": 50,
            "max_memory_allocated": 1,
            "memory_reserved": 1,
            "mem_get_info": (1, 2),
        }.items():
            patch.setattr(torch.cuda, name, lambda answer=answer: answer)
        trainer, service = TrainerMetrics(), large_service()
        return {**series_of(service), **series_of(trainer.registry)}


def series_of(registry: CollectorRegistry) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for family in registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
        if family.type == "counter":
            found.setdefault(f"{family.name}_total", set())
    # What was never counted has no samples yet.
    found.setdefault("loramill_authentication_refusals_total", {"reason"})
    return found


def queries() -> Iterator[tuple[str, str]]:
    """Where it stands, and the query."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield f"{path.name}: {panel['title']}", re.sub(r"\$\w+", "x", target["expr"])


def selectors(node: Any) -> Iterator[Any]:
    """All vector selectors below a node of the parsed query."""
    if isinstance(node, promql.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        inner = getattr(node, name, None)
        if inner is not None:
            yield from selectors(inner)
    for inner in getattr(node, "args", None) or ():
        yield from selectors(inner)


@pytest.mark.parametrize(("place", "query"), queries())
def test_every_query_is_about_metrics_that_exist(place: str, query: str, measured: dict[str, set[str]]) -> None:
    found = [*selectors(promql.parse(query))]
    assert found, f"{place} asks for nothing"
    for selector in found:
        assert selector.name in measured or selector.name in RECORDED, f"{place}: {selector.name}"
        for matcher in selector.matchers.matchers:
            assert matcher.name in measured.get(selector.name, set()) | FROM_PROMETHEUS, f"{place}: {matcher.name}"


def test_an_invented_metric_would_be_noticed(measured: dict[str, set[str]]) -> None:
    query = 'sum by (le) (rate(loramill_invented_total{x="y"}[5m])) and on () (absent(loramill_other) or vector(0))'
    names = {selector.name for selector in selectors(promql.parse(query))}
    assert names == {"loramill_invented_total", "loramill_other"}
    assert not names & measured.keys()


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_says_what_it_means_and_where_to_read_on(name: str) -> None:
    alert = ALERTS[name]
    assert re.fullmatch(r"Loramill[A-Z][A-Za-z]+", name)
    assert alert["labels"]["severity"] in ("critical", "warning")
    annotations = alert["annotations"]
    assert annotations.keys() == {"summary", "description", "runbook"}
    page = ROOT / annotations["runbook"]
    assert f"`{name}`" in page.read_text()
    assert (
        f"| `{name}`" in (RUNBOOKS / "README.md").read_text() or f", `{name}`" in (RUNBOOKS / "README.md").read_text()
    )


def test_every_runbook_is_of_an_alert() -> None:
    named = {(ROOT / alert["annotations"]["runbook"]).name for alert in ALERTS.values()}
    assert {path.name for path in RUNBOOKS.glob("*.md")} == named | {"README.md"}


def test_every_alert_has_a_test_that_fires_and_one_that_does_not() -> None:
    checks = [
        check
        for path in (CHART / "rules" / "tests").glob("*.yaml")
        for test in yaml.safe_load(path.read_text())["tests"]
        for check in test["alert_rule_test"]
    ]
    fired = {check["alertname"] for check in checks if check["exp_alerts"]}
    quiet = {check["alertname"] for check in checks if not check["exp_alerts"]}
    assert fired == quiet == ALERTS.keys()


def test_the_rule_object_holds_every_group_as_it_stands_in_its_file() -> None:
    groups = one(rendered(values_of("production")), "PrometheusRule")["spec"]["groups"]
    assert sum(len(group["rules"]) for group in groups) == len([*rules()])
    told = {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}
    assert told == ALERTS


def test_dashboards_are_config_maps_that_grafana_can_read() -> None:
    maps = [
        each
        for each in all_of(rendered(values_of("production")), "ConfigMap")
        if "dashboard" in each["metadata"]["name"]
    ]
    assert {each["metadata"]["name"] for each in maps} == {
        f"loramill-dashboard-{name}" for name in ("service", "tenant", "job")
    }
    for each in maps:
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        (content,) = each["data"].values()
        dashboard = json.loads(content)
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(ids)) == len(ids)
        places = [panel["gridPos"] for panel in dashboard["panels"]]
        assert all(place["x"] + place["w"] <= 24 for place in places)
        cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
        assert len(set(cells)) == len(cells), "panels lie on one another"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is in Debian's package prometheus")
def test_promtool_agrees() -> None:
    for command in (
        ["check", "rules", *map(str, RULES)],
        ["test", "rules", *map(str, (CHART / "rules" / "tests").glob("*.yaml"))],
    ):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr
