"""Grafana dashboards: the service, one tenant, one job. Pure: tables of queries → Grafana's JSON.

Every replica of the service tells the same of living jobs, so those are never added up over replicas; what is counted once
(ends, launches, GPU time, requests) is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_WIDTH = 24
_HEIGHT = 8
_CREATE = 'method="/loramill.v1.TrainingService/CreateTrainingJob"'
_JOB = 'training_job="$training_job"'
_TENANT = 'tenant="$tenant"'


@dataclass(frozen=True)
class Panel:
    """A graph: what is drawn, by which query, named how."""

    title: str
    unit: str
    """Grafana's name of it."""
    queries: Sequence[tuple[str, str]]
    """PromQL, and the legend."""
    width: int = 8
    description: str = ""
    stat: bool = False
    """One number instead of a line."""


@dataclass(frozen=True)
class Dashboard:
    """A page of panels in rows."""

    name: str
    title: str
    rows: Sequence[tuple[str, Sequence[Panel]]]
    variable: tuple[str, str] | None = None
    """Name, and the query of its values."""


def _quantiles(metric: str, by: str = "", selector: str = "") -> list[tuple[str, str]]:
    """Median and 99th percentile of a histogram."""
    labels = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    return [
        (f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{selector}[5m])))", f"p{name}{legend}")
        for share, name in ((0.5, 50), (0.99, 99))
    ]


SERVICE = Dashboard(
    "service",
    "Loramill: service",
    (
        (
            "Objectives",
            (
                Panel(
                    "Errors of Create, 6 h",
                    "percentunit",
                    (("loramill:create_error_ratio:rate6h", "ratio"),),
                    6,
                    "The objective is 0.1 %.",
                    stat=True,
                ),
                Panel(
                    "Failures of jobs, 6 h",
                    "percentunit",
                    (("loramill:job_failure_ratio:rate6h", "ratio"),),
                    6,
                    "The objective is 1 %. What users can do something about does not count.",
                    stat=True,
                ),
                Panel("Stalled jobs", "short", (("max(loramill_jobs_stalled)", "jobs"),), 6, stat=True),
                Panel("Replicas", "short", (("count(loramill_queue_places)", "replicas"),), 6, stat=True),
            ),
        ),
        (
            "Jobs",
            (
                Panel(
                    "Living jobs by state and reason",
                    "short",
                    (("max by (state, reason) (loramill_jobs)", "{{state}} {{reason}}"),),
                    12,
                ),
                Panel(
                    "Ended jobs an hour",
                    "short",
                    (("sum by (state, reason) (increase(loramill_jobs_ended_total[1h]))", "{{state}} {{reason}}"),),
                    12,
                ),
                Panel(
                    "Waiting jobs by class",
                    "short",
                    (("max by (compute_class) (loramill_queue_waiting)", "{{compute_class}}"),),
                ),
                Panel(
                    "Places",
                    "short",
                    (
                        ("max(loramill_queue_under_way)", "under way"),
                        ("max(loramill_queue_places)", "places"),
                    ),
                ),
                Panel(
                    "Longest wait",
                    "s",
                    (("max by (compute_class) (loramill_queue_oldest_wait_seconds)", "{{compute_class}}"),),
                ),
                Panel("Wait for the first launch", "s", _quantiles("loramill_queue_wait_seconds", "compute_class")),
                Panel("Launch to container", "s", _quantiles("loramill_launch_seconds", "compute_class")),
                Panel(
                    "Launches an hour",
                    "short",
                    (("sum by (kind) (increase(loramill_launches_total[1h]))", "{{kind}}"),),
                ),
            ),
        ),
        (
            "GPUs",
            (
                Panel(
                    "GPUs in use by class",
                    "short",
                    (
                        (
                            "sum by (compute_class) (max by (tenant, compute_class) (loramill_gpus_in_use))",
                            "{{compute_class}}",
                        ),
                    ),
                    12,
                ),
                Panel(
                    "GPU hours a day by tenant",
                    "h",
                    (("sum by (tenant) (increase(loramill_gpu_seconds_total[1d])) / 3600", "{{tenant}}"),),
                    12,
                    "Of launches of jobs that have ended.",
                ),
            ),
        ),
        (
            "Calls",
            (
                Panel("Calls by code", "reqps", (("sum by (code) (rate(loramill_rpc_total[5m]))", "{{code}}"),)),
                Panel("Duration of Create", "s", _quantiles("loramill_rpc_seconds", selector=f"{{{_CREATE}}}")),
                Panel(
                    "Callers not let in",
                    "reqps",
                    (("sum by (reason) (rate(loramill_authentication_refusals_total[5m]))", "{{reason}}"),),
                ),
            ),
        ),
        (
            "What it depends on",
            (
                Panel(
                    "Store: requests by answer",
                    "reqps",
                    (
                        (
                            "sum by (operation, answer) (rate(loramill_store_requests_total[5m]))",
                            "{{operation}} {{answer}}",
                        ),
                    ),
                ),
                Panel("Store: time to the answer", "s", _quantiles("loramill_store_request_seconds")),
                Panel(
                    "API server: requests by answer",
                    "reqps",
                    (
                        (
                            "sum by (verb, resource, answer) (rate(loramill_kubernetes_requests_total[5m]))",
                            "{{verb}} {{resource}} {{answer}}",
                        ),
                    ),
                ),
                Panel("API server: time to the answer", "s", _quantiles("loramill_kubernetes_request_seconds", "verb")),
                Panel("Turns of jobs", "s", _quantiles("loramill_reconcile_seconds")),
                Panel(
                    "Turns that failed",
                    "ops",
                    (("sum(rate(loramill_reconcile_failures_total[5m]))", "failed"),),
                ),
                Panel(
                    "Removed by retention, bytes a day",
                    "bytes",
                    (("sum by (kind) (increase(loramill_collected_bytes_total[1d]))", "{{kind}}"),),
                ),
            ),
        ),
    ),
)

TENANT = Dashboard(
    "tenant",
    "Loramill: tenant",
    (
        (
            "$tenant",
            (
                Panel(
                    "GPUs in use",
                    "short",
                    ((f"max by (compute_class) (loramill_gpus_in_use{{{_TENANT}}})", "{{compute_class}}"),),
                    12,
                ),
                Panel(
                    "GPU hours a day",
                    "h",
                    (
                        (
                            f"sum by (compute_class) (increase(loramill_gpu_seconds_total{{{_TENANT}}}[1d])) / 3600",
                            "{{compute_class}}",
                        ),
                    ),
                    12,
                    "Of launches of jobs that have ended.",
                ),
                Panel(
                    "Progress of running jobs",
                    "percentunit",
                    (
                        (
                            f"max by (training_job) (loramill_training_step{{{_TENANT}}}"
                            f" / (loramill_training_target_steps{{{_TENANT}}} > 0))",
                            "{{training_job}}",
                        ),
                    ),
                    12,
                ),
                Panel(
                    "Pictures a second",
                    "short",
                    (
                        (
                            f"max by (training_job) (loramill_training_images_per_second{{{_TENANT}}})",
                            "{{training_job}}",
                        ),
                    ),
                    12,
                ),
            ),
        ),
    ),
    ("tenant", "label_values(loramill_gpus_in_use, tenant)"),
)

JOB = Dashboard(
    "job",
    "Loramill: one job",
    (
        (
            "Training of $training_job",
            (
                Panel("Loss", "none", ((f"loramill_training_loss{{{_JOB}}}", "launch {{launch}}"),)),
                Panel("Learning rate", "sci", ((f"loramill_training_learning_rate{{{_JOB}}}", "launch {{launch}}"),)),
                Panel("Gradient norm", "none", ((f"loramill_training_gradient_norm{{{_JOB}}}", "launch {{launch}}"),)),
                Panel(
                    "Steps",
                    "short",
                    (
                        (f"loramill_training_step{{{_JOB}}}", "done"),
                        (f"loramill_training_target_steps{{{_JOB}}}", "of"),
                    ),
                ),
                Panel(
                    "Pictures a second",
                    "short",
                    (
                        (f"loramill_training_images_per_second{{{_JOB}}}", "now"),
                        (f"rate(loramill_training_images_total{{{_JOB}}}[5m])", "of five minutes, with all pauses"),
                    ),
                ),
                Panel("Duration of a step", "s", _quantiles("loramill_training_step_seconds", selector=f"{{{_JOB}}}")),
            ),
        ),
        (
            "Where the time goes",
            (
                Panel(
                    "Time by work",
                    "percentunit",
                    ((f"sum by (work) (rate(loramill_training_work_seconds_total{{{_JOB}}}[5m]))", "{{work}}"),),
                    12,
                    "Of the host: `device` is the waiting for the GPU, `data` the waiting for pictures.",
                ),
                Panel(
                    "Stall for a checkpoint",
                    "s",
                    _quantiles("loramill_training_checkpoint_stall_seconds", selector=f"{{{_JOB}}}"),
                    12,
                ),
            ),
        ),
        (
            "Machine",
            (
                Panel(
                    "GPU utilization",
                    "percentunit",
                    ((f"loramill_trainer_gpu_utilization_ratio{{{_JOB}}}", "launch {{launch}}"),),
                ),
                Panel(
                    "GPU memory",
                    "bytes",
                    (
                        (f"loramill_trainer_gpu_memory_bytes{{{_JOB}}}", "in use"),
                        (f"loramill_trainer_peak_gpu_memory_bytes{{{_JOB}}}", "peak"),
                        (f"loramill_trainer_gpu_memory_total_bytes{{{_JOB}}}", "of"),
                    ),
                ),
                Panel("Host memory", "bytes", ((f"loramill_trainer_peak_memory_bytes{{{_JOB}}}", "peak"),)),
            ),
        ),
    ),
    ("training_job", "label_values(loramill_training_step, training_job)"),
)

DASHBOARDS = (SERVICE, TENANT, JOB)


def grafana_json(dashboard: Dashboard) -> str:
    """As Grafana imports it; schema version 39 (Grafana 10 and later)."""
    return json.dumps(_dashboard(dashboard), indent=2) + "\n"


def _dashboard(dashboard: Dashboard) -> dict[str, Any]:
    return {
        "uid": f"loramill-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["loramill"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [*_variables(dashboard)]},
        "panels": [*_panels(dashboard)],
    }


def _variables(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    if dashboard.variable is not None:
        name, query = dashboard.variable
        yield {
            "name": name,
            "type": "query",
            "datasource": _SOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "sort": 1,
        }


_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    number, y = 0, 0
    for title, panels in dashboard.rows:
        number += 1
        yield {"id": number, "type": "row", "title": title, "gridPos": _place(0, y, _WIDTH, 1)}
        x, y = 0, y + 1
        for panel in panels:
            if x + panel.width > _WIDTH:
                x, y = 0, y + _HEIGHT
            number += 1
            yield _panel(panel, number, _place(x, y, panel.width, _HEIGHT))
            x += panel.width
        y += _HEIGHT


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "stat" if panel.stat else "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for index, (expression, legend) in enumerate(panel.queries)
        ],
    }
