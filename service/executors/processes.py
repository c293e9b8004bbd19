"""Which process is meant, long after its number may have been given to another. Linux; standard library only.

A process number alone proves nothing: it is used again. With the time at which the process began (ticks since the
machine started, /proc/<pid>/stat field 22) and the boot it belongs to, it names one process for ever.
"""

from __future__ import annotations

import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_DEAD_STATES = "ZXx"
"""As in proc(5): a zombie has ended and waits only for its parent to ask how."""
_STATE, _START = 0, 19
"""Places in /proc/<pid>/stat of fields 3 and 22, counted behind the name in parentheses."""


@dataclass(frozen=True)
class ProcessIdentity:
    pid: int
    start_ticks: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """Raises ProcessLookupError if there is no such process."""
        fields = _stat(pid)
        if fields is None:
            raise ProcessLookupError(f"there is no process {pid}")
        return cls(pid, int(fields[_START]), _boot_id())

    @classmethod
    def from_note(cls, note: dict[str, Any]) -> ProcessIdentity:
        return cls(int(note["pid"]), int(note["start_ticks"]), str(note["boot_id"]))

    def to_note(self) -> dict[str, Any]:
        return asdict(self)

    def is_alive(self) -> bool:
        fields = _stat(self.pid)
        return (
            fields is not None
            and int(fields[_START]) == self.start_ticks
            and fields[_STATE] not in _DEAD_STATES
            and _boot_id() == self.boot_id
        )

    def send(self, number: signal.Signals) -> None:
        """Signals this process, and never one that has its number now. Does nothing if it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            # The descriptor holds on to one process; only now it is sure whether it is the one that is meant.
            if self.is_alive():
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)

    def kill_group(self) -> None:
        """Kills this process, which leads its group, and all that it has started. Does nothing if it is gone."""
        if self.is_alive():
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                return


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/<pid>/stat from the third on; the second, the name, may hold anything, parentheses too."""
    try:
        content = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return content.rpartition(")")[2].split()


def _boot_id() -> str:
    return _BOOT_ID.read_text(encoding="ascii").strip()
