"""A real Prometheus beside the tests: its targets are those of the chart's monitors, as Prometheus' operator would read them."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.cluster import go_builds
from tests.cluster.installed import Object, eventually

_EVERY = "1s"
"""Between two readings: a test has not as much time as an operator."""

_ROLES = {"PodMonitor": "pod", "ServiceMonitor": "endpointslice"}
_PARTS = {"PodMonitor": ("pod", "pod_container_port"), "ServiceMonitor": ("service", "endpointslice_port")}
"""What the labels are of, and what the port, in the names of Prometheus' discovery."""


@dataclass(frozen=True)
class Prometheus:
    """One that serves."""

    address: str

    def ask(self, path: str, **query: Any) -> Any:
        """`data` of the answer of its HTTP API."""
        encoded = urllib.parse.urlencode(query, doseq=True)
        with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}?{encoded}", timeout=30) as answer:
            return json.load(answer)["data"]

    def values(self, query: str, start: float, end: float) -> list[float]:
        """All that the query came to between two moments, in seconds since 1970, NaN left out."""
        found = self.ask("query_range", query=query, start=start, end=end, step=1)["result"]
        return [float(value) for series in found for _, value in series["values"] if value != "NaN"]

    def targets(self, job: str) -> int:
        """How many of a job answer."""
        found = self.ask("query", query=f'sum(up{{job="{job}"}})')["result"]
        return int(float(found[0]["value"][1])) if found else 0


def scrape_config(monitor: Object, kubeconfig: str) -> Object:
    """What the operator makes of a ServiceMonitor or PodMonitor with one endpoint, as its API reference tells it."""
    kind, spec = monitor["kind"], monitor["spec"]
    of, port = _PARTS[kind]
    (endpoint,) = spec["endpoints" if kind == "ServiceMonitor" else "podMetricsEndpoints"]
    namespaces = spec.get("namespaceSelector", {}).get("matchNames", [monitor["metadata"]["namespace"]])
    wanted = {f"{of}_label_{_sanitized(key)}": value for key, value in spec["selector"]["matchLabels"].items()}
    wanted[f"{port}_name"] = endpoint["port"]
    discovery = {"role": _ROLES[kind], "kubeconfig_file": kubeconfig, "namespaces": {"names": namespaces}}
    return {
        "job_name": f"{kind}/{monitor['metadata']['name']}",
        "scrape_interval": _EVERY,
        "scrape_timeout": _EVERY,
        "kubernetes_sd_configs": [discovery],
        "relabel_configs": [
            *(
                {"source_labels": [f"__meta_kubernetes_{label}"], "regex": re.escape(value), "action": "keep"}
                for label, value in wanted.items()
            ),
            *({_snake(key): value for key, value in rule.items()} for rule in endpoint["relabelings"]),
        ],
    }


@contextmanager
def prometheus(monitors: list[Object], rules: list[Path], kubeconfig: str, folder: Path) -> Iterator[Prometheus]:
    """One that reads what the monitors say and evaluates the rules, until it is left."""
    go_builds.build((go_builds.PROMETHEUS,))
    config = folder / "prometheus.yaml"
    content = {
        "global": {"evaluation_interval": _EVERY},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [scrape_config(monitor, kubeconfig) for monitor in monitors],
    }
    config.write_text(yaml.safe_dump(content))
    address, log = f"127.0.0.1:{_free_port()}", folder / "prometheus.log"
    flags = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]
    with log.open("wb") as output:
        process = subprocess.Popen([go_builds.binary(go_builds.PROMETHEUS), *flags], stdout=output, stderr=output)
    try:

        def serves() -> bool:
            assert process.poll() is None, log.read_text()
            return b"ready to receive" in log.read_bytes()

        eventually("Prometheus to serve", serves)
        yield Prometheus(address)
    finally:
        process.terminate()
        process.wait(30)


def check_metrics(page: str) -> str:
    """What `promtool check metrics` has against a page; empty if nothing."""
    go_builds.build((go_builds.PROMTOOL,))
    command = [go_builds.binary(go_builds.PROMTOOL), "check", "metrics"]
    done = subprocess.run(command, input=page, capture_output=True, text=True, check=False, timeout=60)
    return (done.stdout + done.stderr).strip() or ("" if done.returncode == 0 else f"exit code {done.returncode}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _sanitized(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", label)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
