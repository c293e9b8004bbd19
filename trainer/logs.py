"""Logs: JSON lines where a program reads them, plain lines on a terminal; each line also goes to the store with the run."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

import structlog
from structlog.typing import EventDict


class LogLines:
    """The log's lines, as JSON, until they are stored."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._lock = threading.Lock()
        self._render = structlog.processors.JSONRenderer()

    def keep(self, logger: Any, name: str, event: EventDict) -> EventDict:
        """A structlog processor that passes events on unchanged."""
        line = str(self._render(logger, name, dict(event)))
        with self._lock:
            self._lines.append(line.encode() + b"\n")
        return event

    def peek(self) -> list[bytes]:
        with self._lock:
            return list(self._lines)

    def drop(self, count: int) -> None:
        """Forgets the oldest lines, once they are stored."""
        with self._lock:
            del self._lines[:count]


def set_up_logging() -> LogLines:
    """Configures structlog, and the libraries' own loggers to warnings; returns what will be stored with the run."""
    lines = LogLines()
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            lines.keep,
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    return lines
