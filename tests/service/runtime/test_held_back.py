"""Jobs whose trainer is held back, taken away or refused by a cluster, on their way to an outcome."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from loramill import v1
from service.causes import CLAIM_LIMIT
from service.decision import Launch, Record, Stop, Wait
from service.executors import ABSENT, Execution, ExecutionState
from service.job import standing_of
from service.reconciler import Reconciler, ReconcilerSettings
from service.retry import RetryPolicy
from service.times import to_timestamp, utc_now
from store.records import read_record
from tests.service.runtime.world import (
    JOB,
    KEYS,
    TENANT,
    MemoryStore,
    PretendedExecutor,
    cancel,
    facts_of,
    outcome_of,
    submit,
)

SETTINGS = ReconcilerSettings(retry=RetryPolicy(first_delay=timedelta(0)))
SUSPENDED = Execution(ExecutionState.PENDING, reason=v1.STATE_REASON_SUSPENDED, message="Suspended.", suspended=True)
QUEUED = replace(SUSPENDED, suspended=False)
UNSCHEDULABLE = Execution(ExecutionState.PENDING, reason=v1.STATE_REASON_UNSCHEDULABLE, message="No node fits.")
REFUSED = Execution(ExecutionState.ABSENT, reason=v1.STATE_REASON_QUOTA, message="No room.")


def ended(reason: v1.StateReason.ValueType, code: int | None = None) -> Execution:
    return Execution(ExecutionState.EXITED, code, "From outside.", utc_now(), reason)


class World:
    """One job whose first launch is under way, with a pretended executor that shows what the test wants."""

    def __init__(self, *acts: str) -> None:
        self.store = MemoryStore()
        self.executor = PretendedExecutor(self.store, {1: [*acts, "work"]})
        self.now = utc_now()
        self.reconciler = Reconciler(self.store, self.executor, SETTINGS, clock=lambda: self.now)
        submit(self.store)

    async def launched(self) -> World:
        assert await self.turn() == Launch(1)
        return self

    async def turn(self, after: timedelta = timedelta(0)) -> object:
        self.now += after
        return await self.reconciler.reconcile(TENANT, JOB)

    def shows(self, execution: Execution, number: int = 1) -> None:
        self.executor.executions[JOB, number] = execution


async def test_what_waits_for_a_node_waits_for_any_time_and_is_cancelled_from_there() -> None:
    world = await World().launched()
    world.shows(UNSCHEDULABLE)
    for _ in range(3):
        assert await world.turn(CLAIM_LIMIT * 99) == Wait()
    cancel(world.store)
    assert await world.turn() == Stop((1,))
    world.shows(ABSENT)
    assert isinstance(await world.turn(), Record)
    assert outcome_of(world.store).state == v1.TRAINING_JOB_STATE_CANCELLED


async def test_what_is_refused_or_was_deleted_by_hand_is_begun_again_under_its_number() -> None:
    world = await World().launched()
    for execution in (REFUSED, replace(ABSENT, reason=v1.STATE_REASON_STARTING)):
        world.shows(execution)
        assert await world.turn(CLAIM_LIMIT * 99) == Launch(1)
    assert len(facts_of(world.store).launches) == 1


async def test_while_its_job_is_suspended_nothing_is_launched_though_its_run_has_ended() -> None:
    world = await World("claim").launched()
    world.executor.acts(JOB, 1).end(v1.EXIT_CODE_PREEMPTED)
    world.shows(SUSPENDED)
    for _ in range(3):
        assert await world.turn(timedelta(hours=1)) == Wait()
    facts = facts_of(world.store)
    shown = replace(facts, launches=(replace(facts.launches[0], execution=SUSPENDED),))
    assert standing_of(shown, world.now).reason == v1.STATE_REASON_SUSPENDED
    world.shows(ended(v1.STATE_REASON_UNSPECIFIED, v1.EXIT_CODE_PREEMPTED))
    assert await world.turn() == Launch(2)


async def test_a_suspended_job_is_cancelled() -> None:
    world = await World("claim").launched()
    world.executor.acts(JOB, 1).end(v1.EXIT_CODE_PREEMPTED)
    world.shows(SUSPENDED)
    cancel(world.store)
    assert isinstance(await world.turn(), Record)
    await world.turn()
    assert world.executor.stops == [(JOB, 1)]


async def test_what_the_cluster_queue_holds_back_after_its_end_is_replaced_at_once() -> None:
    world = await World("claim").launched()
    world.shows(QUEUED)
    assert await world.turn() == Wait()
    world.executor.acts(JOB, 1).end(v1.EXIT_CODE_PREEMPTED)
    assert await world.turn() == Stop((1,))
    assert await world.turn(timedelta(seconds=1)) == Launch(2)


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        (v1.STATE_REASON_PREEMPTED, None),
        (v1.STATE_REASON_NODE_LOST, None),
        (v1.STATE_REASON_EVICTED, 3),
        (v1.STATE_REASON_OUT_OF_MEMORY, 1),
        (v1.STATE_REASON_DEADLINE_EXCEEDED, 1),
    ],
)
async def test_how_often_a_job_is_launched_again(reason: v1.StateReason.ValueType, outcome: int | None) -> None:
    world = await World("claim").launched()
    for number in range(1, 6):
        world.shows(ended(reason), number)
        action = await world.turn(timedelta(minutes=1))
        if number == outcome:
            assert isinstance(action, Record)
            assert (outcome_of(world.store).reason, outcome_of(world.store).state) == (
                reason,
                v1.TRAINING_JOB_STATE_FAILED,
            )
            return
        assert action == Launch(number + 1)
    assert outcome is None


async def test_ends_still_count_the_same_when_the_cluster_has_forgotten_them() -> None:
    world = await World("claim").launched()
    for number in range(1, 6):
        world.shows(ended(v1.STATE_REASON_NODE_LOST), number)
        assert await world.turn(timedelta(minutes=1)) == Launch(number + 1)
        world.shows(ABSENT, number)
    seen = facts_of(world.store).launches[0].seen_end
    assert seen is not None
    assert (seen.reason, seen.message, seen.HasField("exit_code")) == (
        v1.STATE_REASON_NODE_LOST,
        "From outside.",
        False,
    )


async def test_a_run_that_has_said_its_last_word_gets_no_other() -> None:
    world = await World("claim").launched()
    world.executor.acts(JOB, 1).end(v1.EXIT_CODE_STORAGE)
    world.shows(ended(v1.STATE_REASON_EVICTED, 2))
    assert await world.turn(timedelta(minutes=1)) == Launch(2)
    assert read_record(world.store, KEYS.job(JOB).seen_end(1), v1.LaunchEnd) is None


async def test_runs_that_are_driven_out_in_good_order_are_failures_all_the_same() -> None:
    world = await World("claim").launched()
    for number in (1, 2, 3):
        world.executor.acts(JOB, number).end(v1.EXIT_CODE_PREEMPTED)
        world.shows(ended(v1.STATE_REASON_EVICTED, v1.EXIT_CODE_PREEMPTED), number)
        action = await world.turn(timedelta(minutes=1))
        world.shows(ABSENT, number)
    assert isinstance(action, Record)
    assert (action.outcome.reason, "From outside." in action.outcome.message) == (v1.STATE_REASON_EVICTED, True)


async def test_how_a_trainer_came_to_run_is_recorded_when_it_is_seen_first() -> None:
    world = await World("claim").launched()
    began, later = utc_now() - timedelta(minutes=1), utc_now()
    running = Execution(ExecutionState.RUNNING, scheduled_time=began, started_time=began, node="node1")
    for execution in (running, replace(running, started_time=later, node="node2"), ABSENT):
        world.shows(execution)
        await world.turn()
    start = facts_of(world.store).launches[0].start
    assert start is not None
    assert (start.node, start.scheduled_time, start.started_time) == ("node1", *[to_timestamp(began)] * 2)
