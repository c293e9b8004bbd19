"""A watched job that trains is read as a whole now and then; in between one object tells what is new."""

from __future__ import annotations

import pytest

from loramill import v1
from service.assignments import assignment_of
from service.errors import ResourceNotFound
from service.executors import Execution, ExecutionState
from service.glances import WHOLE_OF_OTHERS_S, WHOLE_S, Glances
from service.jobs import Jobs
from service.times import utc_now
from store.records import put_record
from tests.service.runtime.world import JOB, KEYS, TENANT, MemoryStore, PretendedExecutor, cancel, facts_of, submit


class Asked(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.gets: list[str] = []

    def get(self, key: str) -> bytes:
        self.gets.append(key)
        return super().get(key)


class World:
    def __init__(self) -> None:
        self.store = Asked()
        self.executor = PretendedExecutor(self.store)
        self.now = 0.0
        jobs = Jobs(self.store, self.executor, lambda _tenant, _job: None, None)  # type: ignore[arg-type]
        self.glances = Glances(jobs, clock=lambda: self.now)

    def train(self) -> None:
        submit(self.store)
        assignment = assignment_of(self.store, facts_of(self.store), 1, utc_now())
        put_record(self.store, KEYS.job(JOB).launch(1), assignment)
        self.executor.scripts = {1: ["claim", "status", "work"]}
        self.executor.launch(TENANT, JOB, 1, assignment, self.store.uri + KEYS.job(JOB).launch(1))
        self.trainer = self.executor.acts(JOB, 1)

    def read(self) -> v1.TrainingJob:
        self.store.gets.clear()
        return self.glances.read(TENANT, JOB)


@pytest.fixture
def world() -> World:
    return World()


def test_a_glance_reads_one_object_and_tells_what_is_new(world: World) -> None:
    world.train()
    assert world.read().progress.step == 1
    world.trainer.status(step=2)
    assert world.read().progress.step == 2
    assert world.store.gets == [KEYS.job(JOB).run(1).status]


def test_a_glance_that_shows_nothing_new_tells_the_same(world: World) -> None:
    world.train()
    assert world.read() is world.read()
    world.executor.executions[JOB, 1] = Execution(ExecutionState.PENDING, suspended=True)
    assert world.read().state == v1.TRAINING_JOB_STATE_LAUNCHING


def test_what_others_have_done_is_seen_by_the_next_look_at_the_whole(world: World) -> None:
    world.train()
    world.read()
    cancel(world.store)
    assert world.read().state == v1.TRAINING_JOB_STATE_RUNNING
    world.now += WHOLE_S
    assert world.read().state == v1.TRAINING_JOB_STATE_CANCELLING


def test_what_this_service_has_done_is_seen_at_once(world: World) -> None:
    world.train()
    world.read()
    cancel(world.store)
    world.glances.look_now(TENANT, JOB)
    assert world.read().state == v1.TRAINING_JOB_STATE_CANCELLING


def test_a_trainer_that_is_gone_needs_a_look_at_the_whole(world: World) -> None:
    world.train()
    world.read()
    world.executor.exit(JOB, 1, world.trainer.end(v1.EXIT_CODE_USER_ERROR))
    world.read()
    assert KEYS.job(JOB).run(1).end in world.store.gets


def test_a_job_that_waits_is_not_read_more_often_than_every_second(world: World) -> None:
    submit(world.store)
    assert world.read().state == v1.TRAINING_JOB_STATE_QUEUED
    world.read()
    assert world.store.gets == []
    world.now += WHOLE_OF_OTHERS_S
    world.read()
    assert world.store.gets != []


def test_a_job_that_is_not_there_is_named(world: World) -> None:
    with pytest.raises(ResourceNotFound, match=JOB):
        world.read()
