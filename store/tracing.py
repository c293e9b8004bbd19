"""Spans by OpenTelemetry: off unless OTEL_* variables name a collector. Service and trainer share it.

Without a collector the spans of the API are empty, and still pass on the trace that a caller began. What sends them (the group
`traces` of pyproject.toml) is loaded only where there is one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACER = trace.get_tracer("loramill")
TRACE_PARENT = "traceparent"
"""The header of W3C Trace Context."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_LAST_SPANS_S = 3.0
"""Seconds that the last spans may take when a process ends."""
_PROPAGATOR = TraceContextTextMapPropagator()


class TracingUnusable(Exception):
    """The OTEL_* variables ask for what cannot be done. One sentence."""


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the standard variables name somebody to send spans to."""
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    exporter = environment.get("OTEL_TRACES_EXPORTER") or "otlp"
    return not off and exporter != "none" and any(environment.get(name) for name in _ENDPOINTS)


def start_tracing(service_name: str, environment: Mapping[str, str] = os.environ) -> Callable[[], None]:
    """Sends spans from now on, if anybody wants them, by the standard OTEL_* variables; what sends the last of them.

    `service_name` counts where OTEL_SERVICE_NAME is not set. Raises TracingUnusable.
    """
    if not is_wanted(environment):
        return _nothing
    exporter = environment.get("OTEL_TRACES_EXPORTER") or "otlp"
    if exporter != "otlp":
        raise TracingUnusable(f"OTEL_TRACES_EXPORTER is {exporter!r}, but spans are sent by otlp alone; leave it out.")
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _PROTOCOL)
    if protocol != _PROTOCOL:
        raise TracingUnusable(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}, but spans are sent by {_PROTOCOL} alone; collectors take that on "
            "port 4318."
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TracingUnusable(
            "OTEL_* variables ask for traces, and what sends them is not installed; install the dependency group `traces`."
        ) from error
    own = {} if environment.get("OTEL_SERVICE_NAME") else {"service.name": service_name}
    provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)

    def finish() -> None:
        """A collector that does not answer keeps nobody."""
        sending = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(_LAST_SPANS_S)

    return finish


def context_of(trace_parent: str, trace_state: str = "") -> Context:
    """The context in which a span is part of a trace that was begun elsewhere; of none if that is no traceparent."""
    return _PROPAGATOR.extract({TRACE_PARENT: trace_parent, "tracestate": trace_state}, context=Context())


def trace_parent() -> str:
    """The present span, for whoever is to go on with its trace; empty where there is none."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(TRACE_PARENT, "")


def _nothing() -> None:
    """There are no spans to send."""
