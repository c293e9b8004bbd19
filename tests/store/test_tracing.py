"""OpenTelemetry's own variables say whether spans are wanted; without them nothing is sent, and a caller's trace goes on."""

from __future__ import annotations

import pytest

from store.tracing import TRACER, TracingUnusable, context_of, is_wanted, start_tracing, trace_parent

SOMEBODY = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
CALLER = f"00-{'5' * 32}-{'7' * 16}-01"


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        (SOMEBODY, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({**SOMEBODY, "OTEL_SDK_DISABLED": "true"}, False),
        ({**SOMEBODY, "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_who_wants_spans(environment: dict[str, str], *, wanted: bool) -> None:
    assert is_wanted(environment) is wanted


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "otlp alone"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "port 4318"),
    ],
)
def test_what_cannot_be_done_is_said(variable: str, value: str, told: str) -> None:
    with pytest.raises(TracingUnusable, match=told):
        start_tracing("loramill-service", {**SOMEBODY, variable: value})


def test_without_a_collector_a_callers_trace_is_passed_on() -> None:
    with TRACER.start_as_current_span("call", context_of(CALLER)), TRACER.start_as_current_span("part"):
        assert trace_parent() == CALLER


@pytest.mark.parametrize("caller", ["", "nonsense", f"00-{'0' * 32}-{'7' * 16}-01"])
def test_what_is_no_trace_begins_none(caller: str) -> None:
    with TRACER.start_as_current_span("call", context_of(caller)):
        assert trace_parent() == ""
