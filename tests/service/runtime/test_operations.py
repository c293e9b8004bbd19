"""Operators see what is stuck in all tenants, and give launches up whose trainers are lost or hang."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from loramill import v1
from service import indexes, keys
from service.audit import Audit
from service.caller import Caller
from service.causes import Retry, causes_of
from service.decision import Finish, Launch, Record, Stop, Wait
from service.errors import InvalidRequest, Refused, ResourceNotFound
from service.executors import Execution, ExecutionState
from service.job import training_job
from service.jobs import Jobs
from service.operations import Operations
from service.reconciler import Reconciler, ReconcilerSettings
from service.retry import RetryPolicy
from service.stuck import SILENCE_LIMIT, START_LIMIT
from service.times import to_timestamp, utc_now
from store.files import FileStore
from store.object_store import ObjectStore
from store.records import put_record, read_record
from tests.service.runtime.world import (
    JOB,
    KEYS,
    START,
    TENANT,
    MemoryStore,
    PretendedExecutor,
    cancel,
    create_record,
    facts_of,
    has_left,
    outcome_of,
    submit,
)
from trainer.errors import Superseded
from trainer.record import RunRecord

OPERATOR = Caller(tenant="platform", principal="ada", method="GiveUpLaunch", call_id="c")
PENDING = Execution(ExecutionState.PENDING, reason=v1.STATE_REASON_IMAGE_PULL, message="No such image.")
RUNNING = Execution(ExecutionState.RUNNING)


class Stubborn(PretendedExecutor):
    """Its trainers do not stop, as on a node that does not answer."""

    def stop(self, tenant: str, job: str, number: int) -> None:
        del tenant
        self.stops.append((job, number))


class World:
    """One job whose trainer works, and an operator."""

    def __init__(self, store: ObjectStore | None = None, executor: type[PretendedExecutor] = Stubborn) -> None:
        self.store: ObjectStore = store or MemoryStore()
        self.executor = executor(self.store, {1: ["work"]})
        self.now = utc_now()
        self.held_back = ""
        self.reconciler = Reconciler(
            self.store,
            self.executor,
            ReconcilerSettings(retry=RetryPolicy(first_delay=timedelta(0)), jobs=9),
            clock=lambda: self.now,
        )
        self.jobs = Jobs(self.store, self.executor, lambda *_: None, Audit(self.store))
        self.operations = Operations(
            self.store,
            self.executor,
            self.jobs,
            Audit(self.store),
            self.reconciler.waits_its_turn,
            lambda _: self.held_back,
            clock=lambda: self.now,
        )

    async def launched(self) -> World:
        submit(self.store)
        assert await self.turn() == Launch(1)
        return self

    async def turn(self) -> object:
        self.now += timedelta(seconds=1)
        return await self.reconciler.reconcile(TENANT, JOB)

    def give_up(self, launch: int = 1, **changes: object) -> v1.TrainingJob:
        wanted = {"tenant": TENANT, "name": f"trainingJobs/{JOB}", "launch": launch, "reason": "n7 is dead", **changes}
        return self.operations.give_up(OPERATOR, v1.GiveUpLaunchRequest(**wanted))  # type: ignore[arg-type]

    def stuck(self, **request: object) -> list[v1.StuckJob]:
        return list(self.operations.stuck(v1.ListStuckJobsRequest(**request)).stuck_jobs)  # type: ignore[arg-type]


async def test_what_is_given_up_is_followed_by_the_next_launch_though_its_trainer_never_goes() -> None:
    world = await World().launched()
    told = world.give_up()
    assert told.state_reason == v1.STATE_REASON_GIVEN_UP
    assert "ada gave the launch up: n7 is dead. Launch 2 follows" in told.state_message
    assert await world.turn() == Launch(2)
    assert await world.turn() == Stop((1,)), "it is told to stop, and nobody waits for it"
    world.executor.acts(JOB, 2).play(["claim", "adapter", "end"])
    world.executor.exit(JOB, 2, 0)
    assert isinstance(await world.turn(), Record)
    assert isinstance(finish := await world.turn(), Finish)
    assert finish.stop == (1,)
    assert has_left(world.store)()
    world.jobs.delete(OPERATOR_OF_TENANT, JOB, False)
    assert [entry.key for entry in world.store.list(KEYS.job(JOB).control)] == [KEYS.job(JOB).tombstone]


OPERATOR_OF_TENANT = replace(OPERATOR, tenant=TENANT)


async def test_who_and_why_stand_in_the_record_and_in_the_audit() -> None:
    world = await World().launched()
    world.give_up()
    world.give_up()  # asked twice is asked once
    end = read_record(world.store, KEYS.job(JOB).seen_end(1), v1.LaunchEnd)
    assert end is not None
    assert (end.reason, end.message) == (v1.STATE_REASON_GIVEN_UP, "ada gave the launch up: n7 is dead.")
    (entry,) = world.store.list(keys.audit_prefix(TENANT))
    audit = read_record(world.store, entry.key, v1.AuditRecord)
    assert audit is not None
    assert (audit.principal, audit.resource) == ("ada", f"trainingJobs/{JOB}/launches/1")


async def test_two_trainers_at_once_do_each_other_no_harm(tmp_path: Path) -> None:
    world = await World(FileStore(tmp_path)).launched()
    zombie = RunRecord(facts_of(world.store).launches[0].assignment)
    zombie.claim()
    world.give_up()
    assert await world.turn() == Launch(2)
    heir = RunRecord(facts_of(world.store).launches[1].assignment)
    heir.claim()
    with pytest.raises(Superseded, match="Launch 2 has taken the place of launch 1"):
        zombie.check_current()
    heir.check_current()
    before = {entry.key for entry in world.store.list()}
    zombie.end(v1.EXIT_CODE_BUG, "late", step=3, trained_seconds=1)
    written = {entry.key for entry in world.store.list()} - before
    assert written == {KEYS.job(JOB).run(1).end}, "it writes nowhere but into its own run"
    assert await world.turn() != Launch(3)
    assert outcome_or_none(world.store) is None, "its last word does not decide the job's fate"
    facts = facts_of(world.store)
    assert training_job(facts, world.now).launches[0].message == "ada gave the launch up: n7 is dead."
    assert causes_of(facts.launches, world.now)[0].retry is Retry.FREE


def outcome_or_none(store: ObjectStore) -> v1.Outcome | None:
    return facts_of(store).outcome


async def test_a_cancelled_job_whose_trainer_never_goes_ends_when_it_is_given_up() -> None:
    world = await World().launched()
    cancel(world.store)
    assert await world.turn() == Stop((1,))
    assert await world.turn() == Stop((1,))
    world.give_up()
    assert isinstance(await world.turn(), Record)
    assert outcome_of(world.store).state == v1.TRAINING_JOB_STATE_CANCELLED


async def test_a_launch_that_was_given_up_and_never_began_is_not_begun() -> None:
    world = await World().launched()
    world.executor.executions[JOB, 1] = PENDING
    world.give_up()
    assert await world.turn() == Launch(2)


async def test_only_a_newest_launch_that_has_not_ended_can_be_given_up() -> None:
    world = World()
    with pytest.raises(ResourceNotFound):
        world.give_up()
    submit(world.store)
    with pytest.raises(Refused, match="was never launched"):
        world.give_up()
    await world.turn()
    with pytest.raises(Refused, match="only its newest can, which is 1"):
        world.give_up(2)
    with pytest.raises(InvalidRequest) as raised:
        world.give_up(0, tenant="A B", name="jobs/1", reason=" ")
    assert [violation.field for violation in raised.value.violations] == ["tenant", "name", "launch", "reason"]
    world.executor.exit(JOB, 1, 137)
    with pytest.raises(Refused, match="has ended by itself"):
        world.give_up()
    assert await world.turn() == Launch(2)
    world.executor.acts(JOB, 2).play(["claim", "adapter", "end"])
    world.executor.exit(JOB, 2, 0)
    await world.turn()
    with pytest.raises(Refused, match="has ended, so"):
        world.give_up(2)


def _silent(world: World) -> None:
    world.executor.acts(JOB, 1).claim()
    world.now += SILENCE_LIMIT + timedelta(minutes=1)


def _pending(world: World) -> None:
    world.executor.executions[JOB, 1] = PENDING
    world.now += START_LIMIT + timedelta(minutes=1)


def _cancelling(world: World) -> None:
    cancel(world.store)
    world.now += START_LIMIT + timedelta(minutes=1)


def _not_gone(world: World) -> None:
    world.executor.acts(JOB, 1).play(["claim", "adapter", "end"])
    put_record(
        world.store,
        KEYS.job(JOB).outcome,
        v1.Outcome(state=v1.TRAINING_JOB_STATE_SUCCEEDED, message="Done.", create_time=to_timestamp(world.now)),
    )
    world.now += START_LIMIT + timedelta(minutes=1)


def _damaged(world: World) -> None:
    world.store.delete(KEYS.job(JOB).outcome)
    world.store.put_new(KEYS.job(JOB).outcome, b'{"schemaVersion":2}')


def _between(world: World) -> None:
    world.executor.exit(JOB, 1, v1.EXIT_CODE_PREEMPTED)
    world.held_back = "The operator lets no job go on on l4 for now."


@pytest.mark.parametrize(
    ("happens", "reason", "remedy"),
    [
        (_silent, "RUNNING PREPARING", "give launch 1 up"),
        (_pending, "LAUNCHING IMAGE_PULL", "Push the image"),
        (_cancelling, "CANCELLING CANCELLED_BY_USER", "give launch 1 up"),
        (_not_gone, "SUCCEEDED UNSPECIFIED", "delete its pod by force"),
        (_damaged, "UNSPECIFIED INTERNAL", "Upgrade the service"),
        (_between, "LAUNCHING HELD_BACK", "loramill admission show"),
    ],
)
async def test_what_is_stuck_why_and_what_would_help(
    happens: Callable[[World], None], reason: str, remedy: str
) -> None:
    world = await World().launched()
    assert world.stuck() == []
    happens(world)
    (found,) = world.stuck()
    state = v1.TrainingJobState.Name(found.state).removeprefix("TRAINING_JOB_STATE_")
    assert f"{state} {v1.StateReason.Name(found.state_reason).removeprefix('STATE_REASON_')}" == reason
    assert (found.tenant, found.name) == (TENANT, f"trainingJobs/{JOB}")
    assert remedy in found.remedy
    assert found.state_message


async def test_jobs_of_all_tenants_page_by_page_and_none_that_waits_for_its_turn() -> None:
    world = World()
    world.held_back = "The operator lets no job begin for now."
    expected = []
    for tenant in ("art", "local", "toys"):
        for number in range(3):
            job = f"{number:015d}j"
            record, key = create_record(job), keys.TenantKeys(tenant).request(job)
            put_record(world.store, key, record)
            indexes.accept(world.store, tenant, key, record)
            expected.append((tenant, f"trainingJobs/{job}"))
    found, token = [], ""
    while True:
        page = world.operations.stuck(v1.ListStuckJobsRequest(page_size=4, page_token=token))
        found += [(job.tenant, job.name) for job in page.stuck_jobs]
        if not (token := page.next_page_token):
            break
    assert found == expected
    # What waits for its turn is not even read.
    world.operations = replace(world.operations, waits_its_turn=lambda tenant, _: tenant != "toys")
    assert [job.tenant for job in world.stuck()] == ["toys"] * 3
    assert world.stuck()[0].since.ToDatetime(tzinfo=START.tzinfo) > START


async def test_a_job_that_gets_on_is_not_stuck_however_long_it_takes() -> None:
    world = await World().launched()
    acts = world.executor.acts(JOB, 1)
    acts.claim()
    acts.status()
    assert await world.turn() == Wait()
    assert world.stuck() == []
