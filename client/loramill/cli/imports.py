"""Shows an import while it goes on: moving on a terminal, a line for each phase elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TextIO

from loramill import v1
from loramill.cli.output import printable, size_of
from loramill.scalars import enum_word

if TYPE_CHECKING:
    from types import TracebackType


def told(found: v1.BaseModelImport) -> str:
    """How an import stands, for people; lines for problems. Empty where there was none, or nothing is left to say."""
    if found.state == v1.BASE_MODEL_IMPORT_STATE_RUNNING:
        return f"number {found.number}, {progress(found)}"
    if found.state == v1.BASE_MODEL_IMPORT_STATE_FAILED:
        descriptions = [problem.description for problem in found.problems] or [found.message]
        return "\n".join([f"number {found.number} failed, from {found.source_uri}", *descriptions])
    return ""


def progress(found: v1.BaseModelImport) -> str:
    """Phase, bytes, and what it waits for."""
    phase = enum_word(v1.BaseModelImportPhase.DESCRIPTOR, found.phase) if found.phase else "waiting"
    parts = [phase]
    if found.bytes_total:
        percent = min(100, 100 * found.bytes_done // found.bytes_total)
        parts.append(f"{size_of(found.bytes_done)} of {size_of(found.bytes_total)} ({percent} %)")
    return ", ".join(parts) + (f": {found.message}" if found.message else "")


@dataclass
class ImportView:
    """Writes to `stream`."""

    stream: TextIO
    _last: str = ""
    _moving: bool = field(init=False)

    def __post_init__(self) -> None:
        self._moving = self.stream.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._moving and self._last:
            self.stream.write("\r\x1b[K")
            self.stream.flush()

    def show(self, base: v1.BaseModel) -> None:
        found = base.last_import
        if found.state != v1.BASE_MODEL_IMPORT_STATE_RUNNING:
            return
        # Elsewhere than on a terminal bytes would make a line each second.
        line = (
            progress(found) if self._moving else progress(v1.BaseModelImport(phase=found.phase, message=found.message))
        )
        if line != self._last:
            self._last = line
            self.stream.write(f"\r\x1b[K{printable(line)}" if self._moving else f"{printable(line)}\n")
            self.stream.flush()
