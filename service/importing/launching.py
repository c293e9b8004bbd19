"""What carries imports out: threads of the service, or Jobs of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from loramill import v1


@dataclass(frozen=True)
class Seen:
    """What is known of an import beside what it tells itself."""

    alive: bool | None
    """Whether it works, or may yet begin; None where that is not known here."""
    message: str = ""
    """What it waits for, or how it ended: one sentence, or empty."""


class ImportLauncher(Protocol):
    """Synchronous and thread-safe. Every method may raise ExecutorError."""

    def start(self, base: str, number: int, request: v1.ImportBaseModelRequest) -> None:
        """Begins an import whose request is in the store. The same one again does nothing."""
        ...

    def observe(self, base: str, number: int, request: v1.ImportBaseModelRequest) -> Seen: ...
