"""Real processes, without jobs: launched once, followed for ever, stopped, lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from loramill import v1
from service.executors import ABSENT, Execution, ExecutionState, ExecutorError
from service.executors.local import LocalExecutor, trainer_environment
from service.executors.notes import read_note, write_once
from service.executors.processes import ProcessIdentity
from tests.service.runtime.world import JOB, TENANT

LAUNCH = (TENANT, JOB, 1)
WAITS = "import signal, sys; print('begun', flush=True); signal.pause()"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITS}"
POLITE = f"import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(68)); {WAITS}"


class Machine:
    """An executor's folder, with means to look at and kill what runs there. Whatever is left is killed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def executor(self, program: str, grace: float = 30.0) -> LocalExecutor:
        """A new executor in the same folder, as a restarted service has it. The program's one argument is the URI."""
        command = (sys.executable, "-S", "-E", "-c", program)
        environment = {"PATH": os.environ["PATH"], "CANARY": "sings"}
        return LocalExecutor(
            self.folder, trainer_command=command, environment=environment, stop_grace=timedelta(seconds=grace)
        )

    def process(self, name: str, number: int = 1) -> ProcessIdentity:
        note = read_note(self.folder / TENANT / JOB / str(number) / f"{name}.json")
        assert note is not None
        return ProcessIdentity.from_note(note)

    def kill(self, name: str) -> None:
        process = self.process(name)
        process.send(signal.SIGKILL)
        wait(lambda: not process.is_alive())


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    yield Machine(tmp_path)
    for note in tmp_path.glob("*/*/*/*.json"):
        if note.name in ("trainer.json", "runner.json") and note.stat().st_size > 1:
            ProcessIdentity.from_note(read_note(note) or {}).send(signal.SIGKILL)


def wait(holds: object, limit: float = 20.0) -> None:
    end = time.monotonic() + limit
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end, f"did not come to hold within {limit} seconds"
        time.sleep(0.005)


def has_exited(executor: LocalExecutor) -> Execution:
    wait(lambda: executor.observe(*LAUNCH).state is ExecutionState.EXITED)
    return executor.observe(*LAUNCH)


def has_begun(executor: LocalExecutor) -> None:
    wait(lambda: b"begun" in (executor.read_log(*LAUNCH, 0) or b""))


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("raise SystemExit(0)", 0),
        ("raise SystemExit(64)", 64),
        ("raise ValueError", 1),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import os; os.abort()", 134),
    ],
)
def test_the_exit_is_recorded(machine: Machine, program: str, code: int) -> None:
    executor = machine.executor(program)
    assert executor.observe(*LAUNCH) == ABSENT
    executor.launch(*LAUNCH, v1.Assignment(), "file:///x")
    execution = has_exited(executor)
    assert execution.exit_code == code
    assert execution.end_time is not None
    assert machine.executor("").observe(*LAUNCH) == execution


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    executor = LocalExecutor(tmp_path, trainer_command=["/does/not/exist"])
    executor.launch(*LAUNCH, v1.Assignment(), "file:///x")
    assert has_exited(executor).exit_code == 127
    assert b"/does/not/exist could not be started: No such file or directory" in (executor.read_log(*LAUNCH, 0) or b"")


def test_what_the_trainer_gets(machine: Machine) -> None:
    program = (
        "import os, signal, sys; print(sys.argv[1:], os.environ['CANARY'], 'HOME' in os.environ, os.getsid(0) == os.getpid(),"
        " signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, sorted(os.listdir('/proc/self/fd'))[:-1], sys.stdin.read())"
    )
    executor = machine.executor(program)
    hostile = "file:///x;$(touch hacked) --flag"
    executor.launch(*LAUNCH, v1.Assignment(), hostile)
    assert has_exited(executor).exit_code == 0
    log = executor.read_log(*LAUNCH, 0)
    assert log == f"[{hostile!r}] sings False True True ['0', '1', '2'] \n".encode()


def test_a_launch_is_started_once_whoever_asks(machine: Machine) -> None:
    program = "import signal; print('begun', flush=True); signal.pause()"
    executors = [machine.executor(program) for _ in range(4)]

    async def all_at_once() -> None:
        await asyncio.gather(
            *(asyncio.to_thread(each.launch, *LAUNCH, v1.Assignment(), "file:///x") for each in executors)
        )

    asyncio.run(all_at_once())
    has_begun(executors[0])
    machine.executor(program).launch(*LAUNCH, v1.Assignment(), "file:///x")
    trainer = machine.process("trainer")
    trainer.send(signal.SIGTERM)
    has_exited(executors[0])
    machine.executor(program).launch(*LAUNCH, v1.Assignment(), "file:///x")
    assert executors[0].read_log(*LAUNCH, 0) == b"begun\n"
    assert executors[0].observe(*LAUNCH).exit_code == 143


def test_a_restarted_service_follows_a_trainer(machine: Machine) -> None:
    machine.executor(WAITS).launch(*LAUNCH, v1.Assignment(), "file:///x")
    restarted = machine.executor("")
    assert restarted.observe(*LAUNCH).state is ExecutionState.RUNNING
    machine.process("trainer").send(signal.SIGKILL)
    assert has_exited(restarted).exit_code == 137


def test_a_trainer_whose_runner_was_killed_is_followed_to_its_end(machine: Machine) -> None:
    executor = machine.executor(WAITS)
    executor.launch(*LAUNCH, v1.Assignment(), "file:///x")
    has_begun(executor)
    machine.kill("runner")
    assert executor.observe(*LAUNCH).state is ExecutionState.RUNNING
    executor.launch(*LAUNCH, v1.Assignment(), "file:///x")
    machine.kill("trainer")
    execution = executor.observe(*LAUNCH)
    assert (execution.state, execution.exit_code) == (ExecutionState.EXITED, None)
    assert "nobody saw" in execution.message
    assert machine.executor("").observe(*LAUNCH) == execution  # the time was recorded


def test_a_number_that_another_process_has_now_is_not_the_trainer(machine: Machine) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as innocent:
        try:
            own = ProcessIdentity.of(innocent.pid)
            folder = machine.folder / TENANT / JOB / "1"
            folder.mkdir(parents=True)
            earlier = ProcessIdentity(own.pid, own.start_ticks - 1, own.boot_id)
            before_the_restart = ProcessIdentity(own.pid, own.start_ticks, "another boot")
            write_once(folder / "runner.json", earlier.to_note())
            write_once(folder / "trainer.json", before_the_restart.to_note())
            assert not earlier.is_alive()
            assert not before_the_restart.is_alive()
            assert machine.executor("", grace=0).observe(*LAUNCH).state is ExecutionState.EXITED
            for _ in range(2):
                machine.executor("", grace=0).stop(*LAUNCH)
            for impostor in (earlier, before_the_restart):
                impostor.send(signal.SIGKILL)
                impostor.kill_group()
            assert innocent.poll() is None
        finally:
            innocent.kill()


def test_stop_asks_then_kills(machine: Machine) -> None:
    polite = machine.executor(POLITE)
    polite.stop(*LAUNCH)
    polite.launch(*LAUNCH, v1.Assignment(), "file:///x")
    has_begun(polite)
    polite.stop(*LAUNCH)
    polite.stop(*LAUNCH)
    assert has_exited(polite).exit_code == 68


def test_a_trainer_that_does_not_listen_is_killed_after_the_grace(machine: Machine) -> None:
    patient, hurried = machine.executor(DEAF), machine.executor(DEAF, grace=0)
    patient.launch(*LAUNCH, v1.Assignment(), "file:///x")
    has_begun(patient)
    patient.stop(*LAUNCH)
    patient.stop(*LAUNCH)
    assert patient.observe(*LAUNCH).state is ExecutionState.RUNNING
    hurried.stop(*LAUNCH)  # a restarted service knows when it was asked
    assert has_exited(patient).exit_code == 137


def test_helpers_of_a_trainer_go_with_it(machine: Machine) -> None:
    program = (
        "import os, signal; helper = os.fork();\nif not helper: signal.pause()\nprint('helper', helper, 'begun', flush=True);"
        " signal.pause()"
    )
    executor = machine.executor(program)
    executor.launch(*LAUNCH, v1.Assignment(), "file:///x")
    has_begun(executor)
    helper = ProcessIdentity.of(int((executor.read_log(*LAUNCH, 0) or b"").split()[1]))
    assert helper.is_alive()
    machine.kill("trainer")
    has_exited(executor)
    wait(lambda: not helper.is_alive())


def test_the_log_is_read_from_any_place(machine: Machine) -> None:
    executor = machine.executor("import sys; print('one', flush=True); print('two', file=sys.stderr)")
    assert executor.read_log(*LAUNCH, 0) is None
    executor.launch(*LAUNCH, v1.Assignment(), "file:///x")
    has_exited(executor)
    assert executor.read_log(*LAUNCH, 0) == b"one\ntwo\n"
    assert executor.read_log(*LAUNCH, 4) == b"two\n"
    assert executor.read_log(*LAUNCH, 99) == b""


def test_what_works_is_not_forgotten_and_what_has_ended_leaves_nothing(machine: Machine) -> None:
    executor = machine.executor(WAITS)
    executor.forget(*LAUNCH)
    executor.launch(*LAUNCH, v1.Assignment(), "file:///x")
    with pytest.raises(ExecutorError, match="still works"):
        executor.forget(*LAUNCH)
    machine.kill("trainer")
    has_exited(executor)
    executor.forget(*LAUNCH)
    assert executor.observe(*LAUNCH) == ABSENT
    assert list(machine.folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / TENANT).write_text("in the way")
    with pytest.raises(ExecutorError, match=f"runner of launch 1 of {JOB} could not be started"):
        LocalExecutor(tmp_path).launch(*LAUNCH, v1.Assignment(), "file:///x")


def test_a_damaged_note_is_named(machine: Machine) -> None:
    folder = machine.folder / TENANT / JOB / "1"
    folder.mkdir(parents=True)
    (folder / "runner.json").write_text("{")
    with pytest.raises(ExecutorError, match=r"runner\.json is not a JSON object"):
        machine.executor("").observe(*LAUNCH)


def test_secrets_do_not_reach_the_trainer() -> None:
    own = {
        "PATH": "/bin",
        "AWS_SECRET_ACCESS_KEY": "x",
        "CUDA_VISIBLE_DEVICES": "0",
        "LORAMILL_TRAINER_LOG": "y",
        "TOKEN": "z",
    }
    passed = trainer_environment(own)
    assert {"PATH", "CUDA_VISIBLE_DEVICES", "LORAMILL_TRAINER_LOG"} <= set(passed)
    assert not {"AWS_SECRET_ACCESS_KEY", "TOKEN"} & set(passed)
