"""Brings a release of the chart to what its values say, from inside the cluster's network.

python -m deploy.cluster.release NAMESPACE VALUES
"""

from __future__ import annotations

import sys
from pathlib import Path

import helm_python as helm
import yaml

from deploy.cluster.paths import KUBECONFIG, ROOT

CHART = ROOT / "helm" / "loramill"
RELEASE = "loramill"
_SECONDS = 180


def release(namespace: str, values: dict[str, object]) -> None:
    """Installs it, or upgrades it, and waits until every replica serves.

    Raises:
        helm_python.HelmError: the chart or the cluster refuses, or replicas do not serve in time.
    """
    with helm.Config(kubeconfig_path=KUBECONFIG, namespace=namespace) as configured:
        act = configured.upgrade if configured.list(all_states=True) else configured.install
        act(CHART, RELEASE, values, wait="watcher", timeout=_SECONDS)


if __name__ == "__main__":
    release(sys.argv[1], yaml.safe_load(Path(sys.argv[2]).read_text()))
