"""Trainers as subprocesses of this machine, each below a runner that outlives the service.

<folder>/<tenant>/<job>/<number>/   runner.json  trainer.json  exit.json  (see runner.py)
                                    stop.json    when the trainer was first asked to stop
                                    log          its standard output and error
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loramill import v1
from service.executors import ABSENT, Execution, ExecutionState, ExecutorError, KnownLaunch
from service.executors.notes import read_note, write_once
from service.executors.processes import ProcessIdentity
from service.executors.runner import EXIT, NOT_EXECUTABLE, RUNNER, TRAINER, exit_note
from service.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

REPOSITORY = Path(__file__).resolve().parents[2]
"""Where `service` and `trainer` are imported from."""

_STOP, _LOG = "stop.json", "log"
_LOG_PIECE = 1 << 20
_START_LIMIT = 60.0
"""Seconds within which a runner must have put its name down."""

_PASSED_ON = frozenset(
    ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "XDG_CACHE_HOME")
)
_PASSED_ON_PREFIXES = ("CUDA_", "NVIDIA_", "OMP_", "MKL_", "PYTORCH_", "LORAMILL_TRAINER_", "OTEL_")


def trainer_environment(own: Mapping[str, str]) -> dict[str, str]:
    """What a trainer gets to see of the service's environment: what it needs to run, and no secrets."""
    passed = {name: value for name, value in own.items() if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)}
    # Unbuffered, so that the log is whole when the trainer is killed; offline, because trainers read the store only.
    passed.pop("OTEL_SERVICE_NAME", None)  # ours
    return {**passed, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", "HF_HUB_OFFLINE": "1"}


class LocalExecutor:
    """See Executor. Any number of services may use one folder at once, and find what an earlier one has started."""

    def __init__(
        self,
        folder: Path,
        *,
        trainer_command: Sequence[str] = (sys.executable, "-m", "trainer"),
        environment: Mapping[str, str] | None = None,
        stop_grace: timedelta = timedelta(seconds=30),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """`trainer_command` is run in the repository, with the assignment's URI behind it.

        `environment` is the whole of the trainer's; by default what `trainer_environment` makes of ours. `stop_grace` lies
        between SIGTERM and SIGKILL.
        """
        self._folder = folder.resolve()
        self._trainer_command = tuple(trainer_command)
        self._environment = dict(trainer_environment(os.environ) if environment is None else environment)
        self._stop_grace = stop_grace
        self._clock = clock

    def launch(self, tenant: str, job: str, number: int, assignment: v1.Assignment, assignment_uri: str) -> None:
        del assignment  # one machine is all there is to choose
        folder = self._launch_folder(tenant, job, number)
        if (folder / RUNNER).exists():
            return
        runner = [sys.executable, "-m", "service.executors.runner", str(folder)]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / _LOG).open("ab") as log:
                subprocess.run(
                    [*runner, *self._trainer_command, assignment_uri],
                    cwd=REPOSITORY,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    close_fds=True,
                    check=True,
                    timeout=_START_LIMIT,
                )
        except (OSError, subprocess.SubprocessError) as error:
            raise ExecutorError(
                f"The runner of launch {number} of {job} could not be started: {error}; see {folder / _LOG}."
            ) from error

    def observe(self, tenant: str, job: str, number: int) -> Execution:
        folder = self._launch_folder(tenant, job, number)
        runner = _identity(folder / RUNNER)
        if runner is None:
            return ABSENT
        # Asked before the other notes are read: a runner that is dead here writes none of them any more.
        waited_for = runner.is_alive()
        exited = _note(folder / EXIT)
        if exited is not None:
            return _exited(exited)
        trainer = _identity(folder / TRAINER)
        if trainer is not None and trainer.is_alive():
            return Execution(ExecutionState.RUNNING)
        if waited_for:
            return Execution(ExecutionState.PENDING if trainer is None else ExecutionState.RUNNING)
        return self._record_lost(folder)

    def known(self) -> list[KnownLaunch]:
        found = []
        for runner in self._folder.glob(f"*/*/*/{RUNNER}"):
            tenant, job, number = runner.parts[-4:-1]
            with suppress(OSError):  # it is being forgotten
                begun = datetime.fromtimestamp(runner.stat().st_mtime, UTC)
                found.append(KnownLaunch(tenant, job, int(number), begun))
        return found

    def stop(self, tenant: str, job: str, number: int) -> None:
        folder = self._launch_folder(tenant, job, number)
        trainer = _identity(folder / TRAINER)
        if trainer is None or not trainer.is_alive():
            return
        asked = _note(folder / _STOP)
        if asked is None:
            # Signalled first: whoever dies in between asks twice, which does no harm; the other way nobody asks.
            trainer.send(signal.SIGTERM)
            write_once(folder / _STOP, {"time": self._clock().isoformat()})
        elif self._clock() - datetime.fromisoformat(asked["time"]) >= self._stop_grace:
            trainer.kill_group()

    def forget(self, tenant: str, job: str, number: int) -> None:
        if self.observe(tenant, job, number).alive:
            raise ExecutorError(f"Launch {number} of {job} still works; stop it before it is forgotten.")
        folder = self._launch_folder(tenant, job, number)
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # until the first folder that is not empty
            folder.parent.rmdir()
            folder.parent.parent.rmdir()

    def read_log(self, tenant: str, job: str, number: int, offset: int) -> bytes | None:
        try:
            with (self._launch_folder(tenant, job, number) / _LOG).open("rb") as log:
                log.seek(offset)
                return log.read(_LOG_PIECE)
        except FileNotFoundError:
            return None

    def _launch_folder(self, tenant: str, job: str, number: int) -> Path:
        return self._folder / tenant / job / str(number)

    def _record_lost(self, folder: Path) -> Execution:
        """Neither runner nor trainer is there, and nobody saw the end. Recorded, so that its time stays the same."""
        write_once(folder / EXIT, exit_note(None))
        note = _note(folder / EXIT)
        return ABSENT if note is None else _exited(note)


def _exited(note: dict[str, Any]) -> Execution:
    code = note["exit_code"]
    if code is None:
        message = "The trainer and its runner are gone and nobody saw how; the machine may have been restarted."
    elif code == NOT_EXECUTABLE:
        message = "The trainer could not be started; its log says why."
    else:
        message = ""
    return Execution(ExecutionState.EXITED, code, message, datetime.fromisoformat(note["time"]))


def _identity(path: Path) -> ProcessIdentity | None:
    note = _note(path)
    return None if note is None else ProcessIdentity.from_note(note)


def _note(path: Path) -> dict[str, Any] | None:
    try:
        return read_note(path)
    except (OSError, ValueError) as error:
        raise ExecutorError(f"What is known of a launch could not be read: {error}.") from error
