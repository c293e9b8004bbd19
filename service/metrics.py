"""What the service measures, in a registry of its own, and the page that Prometheus reads.

Labels are closed sets: methods, codes and states; never ids or names.
"""

from __future__ import annotations

import threading
from collections import Counter as Tally
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from loramill import v1
from store.object_store import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from wsgiref.simple_server import WSGIServer

log = structlog.get_logger(__name__)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)


class RpcMetrics:
    """Calls by method and code, and how long they took. Streams count when they end."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter("loramill_rpc", "Calls that have ended.", ["method", "code"], registry=registry)
        self._seconds = Histogram(
            "loramill_rpc_seconds", "Duration of calls, in seconds.", ["method"], buckets=_SECONDS, registry=registry
        )

    def observe(self, method: str, code: str, seconds: float) -> None:
        self._calls.labels(method, code).inc()
        self._seconds.labels(method).observe(seconds)


class ReconcilerCounts:
    """What the reconciler has to count; see ReconcilerMetrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        ended, launches = "Jobs whose outcome this service recorded.", "Launches that this service recorded."
        self._ended = Counter("loramill_jobs_ended", ended, ["state", "reason"], registry=registry)
        self._launches = Counter("loramill_launches", launches, ["kind"], registry=registry)
        self._seconds = Histogram(
            "loramill_reconcile_seconds",
            "Duration of one turn of a job, in seconds.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._failed = Counter("loramill_reconcile_failures", "Turns that ended in an error.", registry=registry)
        self._waiting = Gauge("loramill_queue_waiting", "Jobs that wait for a place.", registry=registry)
        self._under_way = Gauge("loramill_queue_under_way", "Jobs that hold a place.", registry=registry)

    def job_ended(self, state: v1.TrainingJobState.ValueType, reason: v1.StateReason.ValueType) -> None:
        self._ended.labels(_state_word(state), v1.StateReason.Name(reason).removeprefix("STATE_REASON_")).inc()

    def launched(self, number: int) -> None:
        self._launches.labels("first" if number == 1 else "repeated").inc()

    def reconciled(self, seconds: float, failed: bool) -> None:
        self._seconds.observe(seconds)
        if failed:
            self._failed.inc()

    def queue(self, waiting: int, under_way: int) -> None:
        self._waiting.set(waiting)
        self._under_way.set(under_way)


def _state_word(state: v1.TrainingJobState.ValueType) -> str:
    return v1.TrainingJobState.Name(state).removeprefix("TRAINING_JOB_STATE_")


class JobsByState(Collector):
    """Jobs by state, counted when the page is read."""

    def __init__(self, count: Callable[[], Mapping[str, int]], registry: CollectorRegistry) -> None:
        self._count = count
        registry.register(self)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return [self._family()]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = self._family()
        try:
            counts = Tally(self._count())
        except StoreError as error:
            log.warning("jobs could not be counted for the metrics page", error=str(error))
            return [family]
        for state, jobs in sorted(counts.items()):
            family.add_metric([state], jobs)
        return [family]

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily("loramill_jobs", "Jobs in the record, by state.", labels=["state"])


class MetricsPage:
    """`/metrics`, until it is closed."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        self._server: WSGIServer
        self._thread: threading.Thread
        self._server, self._thread = start_http_server(port, addr=host, registry=registry)
        self.port = int(self._server.server_port)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
