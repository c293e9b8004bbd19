"""What the service measures of its calls, in a registry of its own, and the page that Prometheus reads.

Labels are closed sets: methods, codes, states, and the operator's own names of tenants and compute classes; never ids or what
a caller wrote.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import grpc
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, start_http_server

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

# Each counter and histogram would be told twice, once as the time at which it was made, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
"""Of what is done at once."""


OBJECTIVE_METHOD = "/loramill.v1.TrainingService/CreateTrainingJob"
"""Whose errors have a budget."""


class RpcMetrics:
    """Calls by method and code, and how long they took. Streams count when they end."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter("loramill_rpc", "Calls that have ended.", ["method", "code"], registry=registry)
        self._seconds = Histogram(
            "loramill_rpc_seconds", "Duration of calls.", ["method"], buckets=SECONDS, registry=registry
        )
        # 0 until then: first errors count for the objective, and the growth of a counter that begins with 1 is seen by no rate.
        for code in grpc.StatusCode:
            self._calls.labels(OBJECTIVE_METHOD, code.name)

    def observe(self, method: str, code: str, seconds: float) -> None:
        self._calls.labels(method, code).inc()
        self._seconds.labels(method).observe(seconds)


class StoreMetrics:
    """Requests of the object store, each attempt of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "loramill_store_requests",
            "Requests of the object store, by its answer: a status, or none.",
            ["operation", "answer"],
            registry=registry,
        )
        self._seconds = Histogram(
            "loramill_store_request_seconds",
            "Time until the object store's answer.",
            ["operation"],
            buckets=SECONDS,
            registry=registry,
        )

    def answered(self, operation: str, answer: str, seconds: float) -> None:
        self._requests.labels(operation, answer).inc()
        self._seconds.labels(operation).observe(seconds)


class KubernetesMetrics:
    """Requests of the API server, each attempt of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "loramill_kubernetes_requests",
            "Requests of the API server, by its answer: a status, or none.",
            ["verb", "resource", "answer"],
            registry=registry,
        )
        self._seconds = Histogram(
            "loramill_kubernetes_request_seconds",
            "Time until the API server's answer.",
            ["verb"],
            buckets=SECONDS,
            registry=registry,
        )

    def answered(self, verb: str, resource: str, answer: str, seconds: float) -> None:
        self._requests.labels(verb, resource, answer).inc()
        self._seconds.labels(verb).observe(seconds)


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
