"""Callers that were not let in: all of them counted, few of them in the log, so that nobody can fill it."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import unquote

import structlog
from prometheus_client import CollectorRegistry, Counter

from service.auth.identity import REASONS
from service.errors import NotIdentified, ServiceError

log = structlog.get_logger(__name__)

BETWEEN_LINES_S = 5.0
"""Seconds between two lines of the log about the same reason."""


class Refusals:
    """Hears of every caller that was not let in. Reasons are a closed set, credentials are never written."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        text = "Calls that were refused because of who calls, by reason."
        self._refused = Counter("loramill_authentication_refusals", text, ["reason"], registry=registry)
        for reason in REASONS:  # 0 until then: the growth of a counter that begins with 1 is seen by no rate
            self._refused.labels(reason)
        self._clock = clock
        self._told_at: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def note(self, error: ServiceError, peer: str) -> None:
        """`peer` is as gRPC gives it."""
        reason, now = error.reason, self._clock()
        self._refused.labels(reason).inc()
        if now - self._told_at.get(reason, -BETWEEN_LINES_S) < BETWEEN_LINES_S:
            self._untold[reason] = self._untold.get(reason, 0) + 1
            return
        self._told_at[reason] = now
        check = error.check if isinstance(error, NotIdentified) else ""
        untold = self._untold.pop(reason, 0)
        log.warning("caller not let in", reason=reason, check=check, peer=unquote(peer), not_told_before=untold)
