"""The spans of a run until its first optimizer step: its claim, each phase after that, and all of them together."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from opentelemetry.trace import Span, StatusCode, set_span_in_context

from loramill import v1
from store.tracing import TRACER, TracingUnusable, context_of, start_tracing

log = structlog.get_logger()


def traced() -> Callable[[], None]:
    """Sends spans if somebody wants them; what sends the last ones. A run is worth more than its traces."""
    try:
        return start_tracing("loramill-trainer")
    except TracingUnusable as error:
        log.warning(str(error))
        return lambda: None


class Beginning:
    """Of one run, as part of the trace of the call that made its job. It ends once, and knows no more after that."""

    def __init__(self, assignment: v1.Assignment) -> None:
        about: dict[str, str | int] = {
            "loramill.job": assignment.training_job.rpartition("/")[2],
            "loramill.launch": assignment.launch,
        }
        self._whole: Span | None = TRACER.start_span("begin run", context_of(assignment.trace_parent), attributes=about)
        self._part: Span | None = None

    def part(self, name: str) -> None:
        """This begins, and what was before is done."""
        if self._whole is not None:
            self._end_part()
            self._part = TRACER.start_span(name, set_span_in_context(self._whole))

    def end(self, problem: str = "") -> None:
        """The first step is done, or there will be none because of a problem."""
        if self._whole is not None:
            self._end_part()
            if problem:
                self._whole.set_status(StatusCode.ERROR, problem)
            self._whole.end()
            self._whole = None

    def _end_part(self) -> None:
        if self._part is not None:
            self._part.end()
            self._part = None
