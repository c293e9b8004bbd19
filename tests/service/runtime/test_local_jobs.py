"""Whole jobs with real processes: the service, its runner and its trainer die in turn, and the job comes to its end."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from loramill import v1
from service.executors.local import REPOSITORY, LocalExecutor
from service.executors.notes import read_note
from service.executors.processes import ProcessIdentity
from service.reconciler import Reconciler
from store.files import FileStore
from tests.service.runtime.world import (
    JOB,
    QUICK,
    SUCCESS,
    TENANT,
    Script,
    cancel,
    facts_of,
    has_left,
    outcome_of,
    running,
    submit,
    until,
)

STANDIN = Path(__file__).with_name("standin.py")


class House:
    """A data folder, in which services come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = FileStore(folder / "store")

    def service(self, script: Script, grace: float = 30.0) -> Reconciler:
        command = (sys.executable, str(STANDIN), json.dumps({str(number): acts for number, acts in script.items()}))
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
        executor = LocalExecutor(
            self.folder / "executor",
            trainer_command=command,
            environment=environment,
            stop_grace=timedelta(seconds=grace),
        )
        return Reconciler(self.store, executor, QUICK)

    def works(self, number: int = 1) -> bool:
        """Whether launch `number` has reported progress."""
        launches = facts_of(self.store).launches
        return len(launches) >= number and launches[number - 1].status is not None

    def kill(self, name: str, number: int = 1) -> None:
        note = read_note(self.folder / "executor" / TENANT / JOB / str(number) / f"{name}.json")
        assert note is not None
        ProcessIdentity.from_note(note).send(signal.SIGKILL)

    def states(self) -> tuple[int, int]:
        """(state, number of launches)"""
        return outcome_of(self.store).state, len(facts_of(self.store).launches)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    submit(house.store)
    yield house
    for note in tmp_path.glob("executor/*/*/*/*.json"):
        if note.name in ("trainer.json", "runner.json"):
            ProcessIdentity.from_note(read_note(note) or {}).send(signal.SIGKILL)


SUCCEEDED, CANCELLED = v1.TRAINING_JOB_STATE_SUCCEEDED, v1.TRAINING_JOB_STATE_CANCELLED


async def test_a_killed_trainer_is_launched_again(house: House) -> None:
    async with running(house.service({1: ["claim", "work"], 2: SUCCESS[1]})):
        await until(house.works)
        house.kill("trainer")
        await until(has_left(house.store))
    assert house.states() == (SUCCEEDED, 2)


async def test_a_trainer_killed_after_its_commit_has_succeeded(house: House) -> None:
    async with running(house.service({1: ["claim", "adapter", "kill"]})):
        await until(has_left(house.store))
    assert house.states() == (SUCCEEDED, 1)


@pytest.mark.parametrize("victim", [None, "runner", "trainer"])
async def test_the_service_is_restarted_while_a_job_works(house: House, victim: str | None) -> None:
    script: Script = {1: ["claim", "work", "adapter", "end"], 2: SUCCESS[1]}
    async with running(house.service(script)):
        await until(house.works)
    if victim is not None:
        house.kill(victim)
    async with running(house.service(script)):
        if victim != "trainer":
            note = read_note(house.folder / "executor" / TENANT / JOB / "1" / "trainer.json")
            ProcessIdentity.from_note(note or {}).send(signal.SIGTERM)  # the stand-in then does the rest of its work
        await until(has_left(house.store))
    assert house.states() == (SUCCEEDED, 2 if victim == "trainer" else 1)


async def test_a_job_whose_trainer_ended_while_no_service_was_there(house: House) -> None:
    script: Script = {1: ["claim", "work", "adapter", "end"]}
    async with running(house.service(script)):
        await until(house.works)
    note = read_note(house.folder / "executor" / TENANT / JOB / "1" / "trainer.json")
    ProcessIdentity.from_note(note or {}).send(signal.SIGTERM)
    await until((house.folder / "executor" / TENANT / JOB / "1" / "exit.json").exists)
    async with running(house.service(script)):
        await until(has_left(house.store))
    assert house.states() == (SUCCEEDED, 1)


async def test_a_cancelled_trainer_may_save_what_it_has(house: House) -> None:
    async with running(house.service({1: ["claim", "work", "partial", "end 72"]})):
        await until(house.works)
        cancel(house.store)
        await until(has_left(house.store))
    assert house.states() == (CANCELLED, 1)
    assert f"adapters/{JOB}-final" in outcome_of(house.store).message


async def test_a_cancelled_trainer_that_does_not_listen_is_killed(house: House) -> None:
    async with running(house.service({1: ["claim", "deaf"]}, grace=0.1)):
        await until(house.works)
        cancel(house.store)
        await until(has_left(house.store))
    assert house.states() == (CANCELLED, 1)
