"""Long-running processes of the cluster: started detached, remembered on disk, and ended by their id alone.

A record holds the id and the kernel's start time, so that an id that was given anew, or a reboot, is never mistaken
for a process of ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from deploy.cluster.errors import ClusterError
from deploy.cluster.network import INSIDE
from deploy.cluster.paths import STATE

_RECORDS = STATE / "processes"
_LOGS = STATE / "logs"
_POLL_SECONDS = 0.1
_STOP_SECONDS = 10
_TAIL_LINES = 15


@dataclass(frozen=True)
class Process:
    """A process that was started, which may have ended since."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    pid: int
    start_time: int
    """Clock ticks after boot, from /proc/<pid>/stat."""

    @property
    def log(self) -> Path:
        return _LOGS / f"{self.name}.log"

    def is_alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        return _start_time(self.pid) == self.start_time

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal; nothing where the process has ended."""
        if self.is_alive():
            os.kill(self.pid, number)


def start(name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Process:
    """Starts a command inside the cluster's network, detached, its output appended to its log."""
    return _spawn(Process(name, tuple(map(str, command)), dict(environment or {}), pid=0, start_time=0))


def restart(name: str) -> Process:
    """Starts a process anew as it was started before; ends it first where it runs."""
    stop(name)
    return _spawn(recorded(name))


def stop(name: str, first: signal.Signals = signal.SIGTERM) -> None:
    """Ends a process: by the signal, and by SIGKILL where that does not end it in time."""
    process = recorded(name)
    process.signal(first)
    process.signal(signal.SIGCONT)
    deadline = time.monotonic() + _STOP_SECONDS
    while process.is_alive():
        if time.monotonic() > deadline:
            process.signal(signal.SIGKILL)
        time.sleep(_POLL_SECONDS / 4)


def recorded(name: str) -> Process:
    """Raises ClusterError where no process of that name was ever started."""
    for process in all_recorded():
        if process.name == name:
            return process
    known = ", ".join(process.name for process in all_recorded()) or "none"
    raise ClusterError(f"The cluster has no process {name!r}; it has: {known}.")


def all_recorded() -> list[Process]:
    """Every process that was started, in order of names, alive or not."""
    records = [json.loads(path.read_text()) for path in sorted(_RECORDS.glob("*.json"))]
    return [Process(**{**record, "command": tuple(record["command"])}) for record in records]


def wait_until(condition: Callable[[], bool], seconds: float, what: str, process: Process | None = None) -> None:
    """Waits for a condition.

    Raises:
        ClusterError: it did not come in time, or the process that should bring it about has ended; with its last words.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        ended = process is not None and not process.is_alive()
        if ended or time.monotonic() > deadline:
            why = "its process has ended" if ended else f"not within {seconds:g} s"
            raise ClusterError(f"{what}: {why}.{'' if process is None else _last_words(process)}")
        time.sleep(_POLL_SECONDS)


def _spawn(process: Process) -> Process:
    for folder in (_RECORDS, _LOGS):
        folder.mkdir(parents=True, exist_ok=True)
    command = [*INSIDE, *process.command]
    output = (os.POSIX_SPAWN_OPEN, 1, process.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    pid = os.posix_spawnp(
        command[0],
        command,
        {**os.environ, **process.environment},
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), output, (os.POSIX_SPAWN_DUP2, 1, 2)],
        setsid=True,
    )
    process = replace(process, pid=pid, start_time=_start_time(pid) or 0)
    record = _RECORDS / f"{process.name}.json"
    partial = record.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(process)))
    partial.rename(record)
    return process


def _start_time(pid: int) -> int | None:
    """Field 22 of /proc/<pid>/stat (proc_pid_stat(5)); none where the process has ended, reaped or not."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if after_name[0] in "ZX" else int(after_name[19])


def _last_words(process: Process) -> str:
    lines = process.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    return "\n".join([f" The end of its log {process.log}:", *lines])
