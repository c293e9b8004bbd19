"""Jobs that leave their compute class: it gives no machine within the limit, or an operator empties it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from loramill import v1
from service.admission_control import AdmissionControl
from service.audit import Audit
from service.caller import Caller
from service.compute_classes import ComputeClass, ComputeClasses
from service.decision import EndLaunch, Launch, Stop, Wait
from service.executors import Execution, ExecutionState
from service.job import training_job
from service.keys import TenantKeys
from service.reconciler import Reconciler, ReconcilerSettings
from service.reconciler_counts import ReconcilerCounts
from service.retry import RetryPolicy
from service.times import utc_now
from service.usage import gpu_seconds
from store.records import put_record
from tests.service.runtime.world import JOB, KEYS, TENANT, MemoryStore, PretendedExecutor, create_record, facts_of

OPERATOR = Caller(tenant="platform", principal="operator", method="SetAdmission", call_id="c")
CLASSES = ComputeClasses(
    classes=tuple(ComputeClass(name=name, gpus=1, cpu="1", memory="1Gi") for name in ("l4", "l4-spot", "a100"))
)
LIMIT = timedelta(minutes=5)
UNSCHEDULABLE = Execution(ExecutionState.PENDING, reason=v1.STATE_REASON_UNSCHEDULABLE, message="No node fits.")
RUNNING = Execution(ExecutionState.RUNNING)
GONE = Execution(ExecutionState.EXITED, v1.EXIT_CODE_CANCELLED)


def plan(name: str, gpus: int = 1, price: float = 0.0) -> v1.ComputePlan:
    return v1.ComputePlan(compute_class=name, gpus=gpus, price_per_hour=price, currency="USD")


class World:
    """One job of class l4-spot, which may go to l4 and a100, and a pretended executor that shows what the test wants."""

    def __init__(self, *further: str) -> None:
        self.store, self.now, self.registry = MemoryStore(), utc_now(), CollectorRegistry()
        self.executor = PretendedExecutor(self.store, {1: ["work"]})
        self.control = AdmissionControl(self.store, CLASSES, Audit(self.store))
        record = create_record()
        record.compute.CopyFrom(plan("l4-spot", 1, 0.4))
        record.compute_fallbacks.extend(plan(name, 2, 0.8) for name in further)
        if further:
            record.spec.compute_fallback.after.FromTimedelta(LIMIT)
        put_record(self.store, TenantKeys(TENANT).job(JOB).record, record)
        self.reconciler = Reconciler(
            self.store,
            self.executor,
            ReconcilerSettings(retry=RetryPolicy(first_delay=timedelta(0))),
            ReconcilerCounts(self.registry),
            clock=lambda: self.now,
            control=self.control,
        )

    async def turn(self, after: timedelta = timedelta(0)) -> object:
        self.now += after
        await self.reconciler._read_admission()
        return await self.reconciler.reconcile(TENANT, JOB)

    async def turns(self, until: type) -> object:
        """Turns, each a second after the one before, up to the first action of that kind."""
        for _ in range(10):
            action = await self.turn(timedelta(seconds=1))
            if isinstance(action, until):
                return action
        raise AssertionError(f"no {until.__name__} within ten turns, but {action}")

    def shows(self, execution: Execution, number: int = 1) -> None:
        self.executor.executions[JOB, number] = execution

    def told(self) -> v1.TrainingJob:
        facts = facts_of(self.store)
        shown = self.executor.executions.get((JOB, len(facts.launches)))
        if shown is not None:
            newest = replace(facts.launches[-1], execution=shown)
            facts = replace(facts, launches=(*facts.launches[:-1], newest))
        return training_job(facts, self.now, held_back=self.control.held_back_job(facts))


async def test_a_class_that_gives_no_machine_is_left_for_the_next_with_plan_and_price_told() -> None:
    world = World("l4", "a100")
    assert await world.turn() == Launch(1, "l4-spot")
    world.shows(UNSCHEDULABLE)
    assert await world.turn(LIMIT - timedelta(seconds=5)) == Wait()
    ended = await world.turn(timedelta(seconds=5))
    assert isinstance(ended, EndLaunch)
    assert ended.end.message == (
        "l4-spot has given no machine within 5 minutes (No node fits). The job goes to l4, which costs 0.8 USD an hour."
    )
    assert await world.turn() == Stop((1,))
    assert await world.turn(timedelta(seconds=1)) == Launch(2, "l4")
    job = world.told()
    assert (job.compute, [plan.compute_class for plan in job.compute_fallbacks]) == (plan("l4", 2, 0.8), ["l4", "a100"])
    assert [(launch.compute_class, launch.message[:7]) for launch in job.launches] == [
        ("l4-spot", "l4-spot"),
        ("l4", ""),
    ]
    assert (
        world.registry.get_sample_value(
            "loramill_launches_moved_total", {"compute_class": "l4-spot", "reason": "NO_CAPACITY"}
        )
        == 1
    )
    # It does not come back to a class that gave it none, and waits in the last one.
    world.shows(UNSCHEDULABLE, 2)
    world.now += LIMIT
    assert await world.turns(Launch) == Launch(3, "a100")
    world.shows(UNSCHEDULABLE, 3)
    assert await world.turn(LIMIT * 9) == Wait()
    assert world.told().state_reason == v1.STATE_REASON_NO_CAPACITY
    assert "It goes on waiting; cancel it" in world.told().state_message


@pytest.mark.parametrize(
    ("execution", "waits"),
    [
        (UNSCHEDULABLE, False),
        (Execution(ExecutionState.PENDING, reason=v1.STATE_REASON_WAITING_FOR_NODE), False),
        (Execution(ExecutionState.ABSENT, reason=v1.STATE_REASON_QUOTA), False),
        (Execution(ExecutionState.PENDING, reason=v1.STATE_REASON_SUSPENDED), False),
        (Execution(ExecutionState.PENDING, reason=v1.STATE_REASON_SUSPENDED, suspended=True), True),
        (Execution(ExecutionState.PENDING, reason=v1.STATE_REASON_IMAGE_PULL), True),
        (Execution(ExecutionState.PENDING, reason=v1.STATE_REASON_STARTING), True),
        (RUNNING, True),
    ],
)
async def test_only_what_another_class_might_have_is_looked_for_there(execution: Execution, waits: bool) -> None:
    world = World("l4")
    await world.turn()
    world.shows(execution)
    assert (await world.turn(LIMIT) == Wait()) is waits


async def test_without_a_class_to_go_to_the_job_waits_and_tells_the_reason() -> None:
    world = World()
    await world.turn()
    world.shows(UNSCHEDULABLE)
    assert await world.turn(timedelta(minutes=14)) == Wait()
    assert world.told().state_reason == v1.STATE_REASON_UNSCHEDULABLE
    assert await world.turn(timedelta(hours=9)) == Wait()
    job = world.told()
    assert (job.state, job.state_reason) == (v1.TRAINING_JOB_STATE_LAUNCHING, v1.STATE_REASON_NO_CAPACITY)
    assert job.state_message.startswith(
        "l4-spot has given no machine within 15 minutes (No node fits). It goes on waiting"
    )


async def test_a_trainer_on_a_class_that_is_emptied_saves_and_goes_on_elsewhere() -> None:
    world = World("l4")
    await world.turn()
    world.executor.acts(JOB, 1).claim()
    world.control.set(OPERATOR, v1.Admission(drained_compute_classes=["l4-spot"], reason="new driver"))
    ended = await world.turn()
    assert isinstance(ended, EndLaunch)
    assert (ended.end.reason, ended.end.message) == (
        v1.STATE_REASON_PREEMPTED,
        "The operator takes l4-spot out of service: new driver.",
    )
    assert await world.turn() == Stop((1,))
    world.executor.acts(JOB, 1).end(v1.EXIT_CODE_PREEMPTED)
    assert await world.turn(timedelta(seconds=1)) == Launch(2, "l4")
    assert facts_of(world.store).launches[1].assignment.compute_class == "l4"
    # Its own class again only when it has to leave this one.
    world.control.set(OPERATOR, v1.Admission())
    assert await world.turn() == Wait()


async def test_without_another_class_the_job_waits_until_its_own_is_open_and_loses_no_try() -> None:
    world = World()
    await world.turn()
    world.executor.acts(JOB, 1).claim()
    world.control.set(OPERATOR, v1.Admission(drained_compute_classes=["l4-spot"]))
    for _ in range(6):
        action = await world.turn(timedelta(hours=1))
    assert action == Wait()
    job = world.told()
    assert (job.state, job.state_reason) == (v1.TRAINING_JOB_STATE_LAUNCHING, v1.STATE_REASON_HELD_BACK)
    assert job.state_message.endswith("The operator lets no job go on on l4-spot for now.")
    world.control.set(OPERATOR, v1.Admission(closed_compute_classes=["l4-spot"]))  # for jobs that have not begun
    assert await world.turn() == Launch(2, "l4-spot")


async def test_a_job_that_waits_begins_on_the_first_of_its_classes_that_is_open() -> None:
    world = World("l4", "a100")
    world.control.set(OPERATOR, v1.Admission(closed_compute_classes=["l4-spot", "l4", "a100"]))
    assert await world.turn() == Wait()
    job = world.told()
    assert (job.state_reason, job.state_message) == (
        v1.STATE_REASON_HELD_BACK,
        "The operator lets no job begin on l4-spot or l4 or a100 for now.",
    )
    world.control.set(OPERATOR, v1.Admission(closed_compute_classes=["l4-spot"], drained_compute_classes=["l4"]))
    assert await world.turn() == Launch(1, "a100")


async def test_each_launch_counts_the_gpus_of_its_own_class() -> None:
    world = World("l4")
    await world.turn()
    world.executor.acts(JOB, 1).claim()
    world.control.set(OPERATOR, v1.Admission(drained_compute_classes=["l4-spot"]))
    await world.turns(Launch)
    world.executor.acts(JOB, 2).claim()
    used = gpu_seconds(facts_of(world.store), utc_now() + timedelta(hours=1))
    assert used["l4"] == pytest.approx(7200, rel=0.1)
    assert used["l4-spot"] < 3600
    assert KEYS.job(JOB).seen_end(1) in world.store.objects
