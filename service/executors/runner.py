"""Starts one trainer, waits for its end and records how it ended: `python -m service.executors.runner FOLDER COMMAND…`.

The service may be restarted while a trainer works, and is then no longer anybody's parent. So each launch gets a runner
of its own, in a session of its own, that does nothing but wait. It leaves three notes in FOLDER, each written once:

    runner.json    the runner's identity; whoever writes it is the one runner of this launch
    trainer.json   the trainer's identity; written before the trainer begins to run, so that none can run unknown
    exit.json      how the trainer ended

Standard output and error are the launch's log. The command returns as soon as a runner has put its name down. Standard
library only: what waits beside every training must be small and must not fail.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from service.executors.notes import write_once
from service.executors.processes import ProcessIdentity

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNNER, TRAINER, EXIT = "runner.json", "trainer.json", "exit.json"
"""Names of the notes."""

NOT_EXECUTABLE = 127
"""As shells say it: the command could not be started."""

_SIGNALLED = 128
_OUT_OF_MEMORY_SCORE = "500"
"""Of 1000: where memory ends, the kernel takes the trainer before the service."""
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""A machine that goes down signals everybody; the runner stays to record what the trainer makes of it."""
_RESTORED = (*_IGNORED, signal.SIGPIPE, signal.SIGXFSZ)
"""Ignored here or by Python itself; a program that is started expects the system's own ways."""
_READY = b"."


def main(arguments: Sequence[str]) -> int:
    """Leaves a runner behind; 0 once one has this launch, be it an earlier one."""
    folder, command = Path(arguments[0]), list(arguments[1:])
    ready, announce = os.pipe()
    if os.fork():
        os.close(announce)
        return 0 if os.read(ready, 1) == _READY else 1
    os.close(ready)
    os.setsid()
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    won = write_once(folder / RUNNER, ProcessIdentity.of(os.getpid()).to_note())
    os.write(announce, _READY)
    os.close(announce)
    if won:
        _run(folder, command)
    return 0


def _run(folder: Path, command: list[str]) -> None:
    trainer, gate = _fork_trainer(command)
    write_once(folder / TRAINER, ProcessIdentity.of(trainer).to_note())
    os.write(gate, _READY)
    os.close(gate)
    # First looked at and only then reaped: until then its number, which is its group's too, is given to nobody else.
    os.waitid(os.P_PID, trainer, os.WEXITED | os.WNOWAIT)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(trainer, signal.SIGKILL)  # helpers that it left behind
    _, status = os.waitpid(trainer, 0)
    code = os.waitstatus_to_exitcode(status)
    write_once(folder / EXIT, exit_note(code if code >= 0 else _SIGNALLED - code))


def exit_note(exit_code: int | None) -> dict[str, object]:
    """Now, and how: None if nobody was there to see."""
    return {"exit_code": exit_code, "time": datetime.now(UTC).isoformat()}


def _fork_trainer(command: list[str]) -> tuple[int, int]:
    """(process number of the trainer, the gate's end to write to): it waits at the gate until its name is put down."""
    waiting, gate = os.pipe()
    pid = os.fork()
    if pid:
        os.close(waiting)
        return pid, gate
    try:
        os.close(gate)
        os.setsid()
        for number in _RESTORED:
            signal.signal(number, signal.SIG_DFL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(_OUT_OF_MEMORY_SCORE, encoding="ascii")
        if os.read(waiting, 1) == _READY:
            os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"{command[0]} could not be started: {error.strerror}\n")
        sys.stderr.flush()
    finally:
        os._exit(NOT_EXECUTABLE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
