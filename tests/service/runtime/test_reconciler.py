"""Jobs on their way to an outcome, with a pretended executor."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from loramill import v1
from service import indexes
from service.executors import Execution, ExecutorError
from service.facts import JobFacts
from service.reconciler import Reconciler, ReconcilerSettings
from service.times import utc_now
from store.records import put_record
from tests.service.runtime.world import (
    JOB,
    KEYS,
    QUICK,
    SUCCESS,
    TENANT,
    MemoryStore,
    PretendedExecutor,
    Script,
    cancel,
    create_record,
    facts_of,
    has_left,
    listed,
    outcome_of,
    running,
    submit,
    until,
)

SUCCEEDED, FAILED, CANCELLED = (
    v1.TRAINING_JOB_STATE_SUCCEEDED,
    v1.TRAINING_JOB_STATE_FAILED,
    v1.TRAINING_JOB_STATE_CANCELLED,
)


@pytest.mark.parametrize(
    ("script", "state", "reason", "launches"),
    [
        (SUCCESS, SUCCEEDED, v1.STATE_REASON_COMPLETED, 1),
        # Only a whole adapter is success, whatever is said about the end.
        ({1: ["claim", "adapter", "exit 137"]}, SUCCEEDED, v1.STATE_REASON_COMPLETED, 1),
        ({1: ["claim", "adapter", "end 1"]}, SUCCEEDED, v1.STATE_REASON_COMPLETED, 1),
        ({1: ["claim", "exit 0"]}, FAILED, v1.STATE_REASON_INTERNAL, 3),
        ({1: ["claim", "end 0"]}, FAILED, v1.STATE_REASON_INTERNAL, 3),
        ({1: ["claim", "corrupt", "end 0"]}, FAILED, v1.STATE_REASON_INTERNAL, 3),
        ({1: ["claim", "missing", "end 0"]}, FAILED, v1.STATE_REASON_INTERNAL, 3),
        ({1: ["claim", "partial", "end 0"]}, FAILED, v1.STATE_REASON_INTERNAL, 3),
        ({1: ["claim", "adapter 000005", "end 0"]}, FAILED, v1.STATE_REASON_INTERNAL, 3),
        # Of a job that does not train, whole results are.
        ({1: ["claim", "result", "end 0"]}, SUCCEEDED, v1.STATE_REASON_COMPLETED, 1),
        (
            {1: ["claim", "result", "exit 137"], 2: ["claim", "result", "end 0"]},
            SUCCEEDED,
            v1.STATE_REASON_COMPLETED,
            2,
        ),
        ({1: ["claim", "spoilt", "end 0"]}, FAILED, v1.STATE_REASON_INTERNAL, 3),
        # A later run can mend what an earlier one left.
        ({1: ["claim", "exit 137"], 2: SUCCESS[1]}, SUCCEEDED, v1.STATE_REASON_COMPLETED, 2),
        ({1: ["claim", "corrupt", "end 0"], 2: SUCCESS[1]}, SUCCEEDED, v1.STATE_REASON_COMPLETED, 2),
        ({1: ["exit 1"], 2: ["claim", "exit 137"], 3: SUCCESS[1]}, SUCCEEDED, v1.STATE_REASON_COMPLETED, 3),
        # Making room does not count.
        (
            {**{n: ["claim", "end 68"] for n in range(1, 6)}, 6: SUCCESS[1]},
            SUCCEEDED,
            v1.STATE_REASON_COMPLETED,
            6,
        ),
        # What would end the same way again is not tried again.
        ({1: ["claim", "end 64"]}, FAILED, v1.STATE_REASON_USER_ERROR, 1),
        ({1: ["claim", "exit 64"]}, FAILED, v1.STATE_REASON_USER_ERROR, 1),
        ({1: ["claim", "end 65"]}, FAILED, v1.STATE_REASON_OUT_OF_MEMORY, 1),
        ({1: ["claim", "end 66"]}, FAILED, v1.STATE_REASON_DIVERGED, 1),
        ({1: ["claim", "end 70"]}, FAILED, v1.STATE_REASON_DEADLINE_EXCEEDED, 1),
        # The rest is, three times.
        ({1: ["claim", "end 67"]}, FAILED, v1.STATE_REASON_STALLED, 3),
        ({1: ["claim", "end 69"]}, FAILED, v1.STATE_REASON_STORAGE, 3),
        ({1: ["exit 137"]}, FAILED, v1.STATE_REASON_CRASHED, 3),
        ({1: ["exit 2"]}, FAILED, v1.STATE_REASON_INTERNAL, 3),
    ],
)
async def test_outcome_of_a_job(script: Script, state: int, reason: int, launches: int) -> None:
    store = MemoryStore()
    executor = PretendedExecutor(store, script)
    submit(store)
    async with running(Reconciler(store, executor, QUICK)):
        await until(has_left(store))
    outcome = outcome_of(store)
    assert (outcome.state, outcome.reason) == (state, reason), outcome.message
    assert outcome.message.endswith((".", "again."))
    assert executor.starts == [(JOB, number) for number in range(1, launches + 1)]
    word = v1.TrainingJobState.Name(outcome.state).removeprefix("TRAINING_JOB_STATE_")
    assert listed(store, KEYS.ended_prefix) == [f"{JOB}.{word}"]


async def test_a_trainer_that_ends_while_it_is_looked_at_is_not_taken_for_one_without_a_word() -> None:
    store = MemoryStore()
    executor = PretendedExecutor(store, {1: ["claim", "work"]})
    submit(store)
    look, looks = executor.observe, 0

    def observe(tenant: str, job: str, number: int) -> Execution:
        nonlocal looks
        looks += 1
        if looks == 3:
            executor.acts(job, number).play(["adapter", "end"])
            executor.exit(job, number, 0)
        return look(tenant, job, number)

    executor.observe = observe  # type: ignore[method-assign]
    async with running(Reconciler(store, executor, QUICK)):
        await until(has_left(store))
    assert executor.starts == [(JOB, 1)]


async def test_damage_is_named_and_a_damaged_adapter_is_not_listed() -> None:
    store = MemoryStore()
    submit(store)
    executor = PretendedExecutor(store, {1: ["claim", "adapter 000005", "corrupt", "end 0"]})
    async with running(Reconciler(store, executor, QUICK)):
        await until(has_left(store))
    assert "adapter.safetensors has another SHA-256 than was committed" in outcome_of(store).message
    assert listed(store, KEYS.adapters_prefix) == [f"{JOB}-000005"]


async def test_what_a_job_has_made_and_its_damage_are_told() -> None:
    store = MemoryStore()
    submit(store)
    executor = PretendedExecutor(store, {1: ["claim", "spoilt", "end 64"]})
    async with running(Reconciler(store, executor, QUICK)):
        await until(has_left(store))
    assert "data-report/report.txt has another SHA-256 than was committed" in outcome_of(store).message


async def test_of_two_commits_of_an_adapter_the_later_whole_one_is_listed() -> None:
    store = MemoryStore()
    submit(store)
    first, second = ["claim", "corrupt", "end 0"], ["claim", "adapter", "adapter 000005", "end 0"]
    async with running(Reconciler(store, PretendedExecutor(store, {1: first, 2: second}), QUICK)):
        await until(has_left(store))
    assert store.get(KEYS.adapter(f"{JOB}-final")) == KEYS.job(JOB).run(2).adapter_manifest("final").encode()
    assert listed(store, KEYS.adapters_prefix) == [f"{JOB}-000005", f"{JOB}-final"]


async def test_cancelled_before_the_first_launch() -> None:
    store = MemoryStore()
    executor = PretendedExecutor(store)
    submit(store)
    cancel(store)
    async with running(Reconciler(store, executor, QUICK)):
        await until(has_left(store))
    assert outcome_of(store).state == CANCELLED
    assert executor.starts == []


@pytest.mark.parametrize(
    ("last_acts", "state", "message"),
    [
        ([], CANCELLED, "before anything was saved"),
        (["partial", "end 72"], CANCELLED, f"adapters/{JOB}-final"),
        # Training won the race.
        (["adapter", "end 0"], SUCCEEDED, f"adapters/{JOB}-final"),
        # It failed before it heard of it; the caller wanted an end and has it.
        (["end 64"], CANCELLED, "before anything was saved"),
    ],
)
async def test_cancelled_while_it_works(last_acts: list[str], state: int, message: str) -> None:
    store = MemoryStore()
    executor = PretendedExecutor(store, {1: ["claim", "status", "work"]})
    submit(store)
    reconciler = Reconciler(store, executor, QUICK)
    async with running(reconciler):
        await until(lambda: executor.starts == [(JOB, 1)])
        code = executor.acts(JOB, 1).play(last_acts)
        if last_acts:
            executor.exit(JOB, 1, code)
        cancel(store)
        reconciler.wake(TENANT, JOB)
        await until(has_left(store))
    outcome = outcome_of(store)
    assert outcome.state == state
    assert message in outcome.message


async def test_cancelled_between_two_launches() -> None:
    store = MemoryStore()
    executor = PretendedExecutor(store, {1: ["claim", "exit 137"]})
    submit(store)
    slow = ReconcilerSettings(interval=QUICK.interval)  # the first delay is a second
    async with running(Reconciler(store, executor, slow)):
        await until(lambda: executor.starts == [(JOB, 1)])
        cancel(store)
        await until(has_left(store))
    assert outcome_of(store).state == CANCELLED
    assert executor.starts == [(JOB, 1)]


async def test_cancel_after_the_end_changes_nothing() -> None:
    store = MemoryStore()
    submit(store)
    async with running(Reconciler(store, PretendedExecutor(store), QUICK)):
        await until(has_left(store))
        before = outcome_of(store)
        cancel(store)
        indexes.accept(store, TENANT, KEYS.request(JOB), create_record())
    assert outcome_of(store) == before
    assert listed(store, KEYS.active_prefix) == []


async def test_a_trainer_that_works_on_after_the_outcome_is_stopped_before_the_job_leaves() -> None:
    store = MemoryStore()
    executor = PretendedExecutor(store, {1: ["claim", "work"]})
    submit(store)
    async with running(Reconciler(store, executor, QUICK)):
        await until(lambda: executor.starts == [(JOB, 1)])
        put_record(store, KEYS.job(JOB).outcome, v1.Outcome(state=CANCELLED, message="Another service was first."))
        await until(has_left(store))
    assert executor.stops == [(JOB, 1)]


async def test_a_trainer_that_was_started_after_the_end_is_stopped_though_the_job_has_left() -> None:
    store = MemoryStore()
    executor = PretendedExecutor(store, {1: ["claim", "work"]})
    submit(store)
    async with running(Reconciler(store, executor, QUICK)):
        await until(lambda: executor.starts == [(JOB, 1)])
    stop, asked = executor.stop, []

    def stop_when_asked_twice(tenant: str, job: str, number: int) -> None:
        asked.append(number)
        if len(asked) > 1:
            stop(tenant, job, number)

    executor.stop = stop_when_asked_twice  # type: ignore[method-assign]
    put_record(store, KEYS.job(JOB).outcome, v1.Outcome(state=CANCELLED))
    indexes.put_ended(store, TENANT, JOB, v1.Outcome(state=CANCELLED))
    indexes.clear_active(store, TENANT, JOB)
    reconciler = Reconciler(store, executor, QUICK)
    async with running(reconciler):
        reconciler.wake(TENANT, JOB)
        await until(lambda: not executor.executions[JOB, 1].alive)
    assert asked == [1, 1]


async def test_a_trainer_that_does_not_go_after_its_last_word_is_given_its_time_and_then_stopped() -> None:
    store = MemoryStore()
    executor = PretendedExecutor(store, {1: ["claim", "adapter", "work"]})
    later = [timedelta(0)]
    submit(store)
    async with running(Reconciler(store, executor, QUICK, clock=lambda: utc_now() + later[0])):
        await until(lambda: executor.starts == [(JOB, 1)])
        executor.acts(JOB, 1).end(0)
        await until(lambda: listed(store, KEYS.ended_prefix) == [f"{JOB}.SUCCEEDED"])
        assert listed(store, KEYS.active_prefix) == [JOB]
        assert executor.stops == []
        later[0] = timedelta(seconds=31)
        await until(has_left(store))
    assert executor.stops == [(JOB, 1)]


async def test_a_job_that_cannot_be_read_holds_up_no_other() -> None:
    store = MemoryStore()
    broken, good = "0" * 15 + "b", "0" * 15 + "g"
    submit(store, broken)
    store.objects[KEYS.job(broken).record] = b"{"
    submit(store, good)
    async with running(Reconciler(store, PretendedExecutor(store), QUICK)):
        await until(has_left(store, good))
        store.objects[KEYS.job(broken).record] = store.objects[KEYS.request(broken)]
        await until(has_left(store, broken))
    assert outcome_of(store, broken).state == SUCCEEDED


async def test_an_executor_that_fails_is_asked_again() -> None:
    store = MemoryStore()
    executor = PretendedExecutor(store)
    start, failures = executor.launch, []

    def launch(tenant: str, job: str, number: int, assignment: v1.Assignment, assignment_uri: str) -> None:
        if len(failures) < 3:
            failures.append(number)
            raise ExecutorError("no processes left")
        start(tenant, job, number, assignment, assignment_uri)

    executor.launch = launch  # type: ignore[method-assign]
    submit(store)
    async with running(Reconciler(store, executor, QUICK)):
        await until(has_left(store))
    assert failures == [1, 1, 1]
    assert executor.starts == [(JOB, 1)]
    assert outcome_of(store).state == SUCCEEDED


async def test_jobs_start_in_the_order_in_which_they_came_and_one_at_a_time() -> None:
    store = MemoryStore()
    jobs = [f"{number:016d}" for number in range(5)]
    for age, job in enumerate(jobs):
        submit(store, job, timedelta(minutes=age))
    executor = PretendedExecutor(store, {1: ["claim", "work"]})
    reconciler = Reconciler(store, executor, QUICK)
    async with running(reconciler):
        for place, job in enumerate(reversed(jobs), start=1):
            await until(lambda place=place: len(executor.starts) == place)  # type: ignore[misc]
            assert executor.starts[-1] == (job, 1)
            waiting = list(reversed(jobs))[place:]
            assert [reconciler.queue_position(TENANT, each) for each in waiting] == list(range(1, len(waiting) + 1))
            assert reconciler.queue_position(TENANT, job) is None
            executor.acts(job, 1).play(["adapter", "end"])
            executor.exit(job, 1, 0)
        await until(has_left(store, *jobs))
    assert executor.most_at_once == 1


async def test_a_new_job_is_not_looked_at_before_its_turn_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    first, second = "0" * 15 + "b", "0" * 15 + "a"
    executor = PretendedExecutor(store, {1: ["claim", "work"]})
    reconciler = Reconciler(store, executor, QUICK)
    woken: list[str] = []
    monkeypatch.setattr(reconciler, "wake", lambda _tenant, job: woken.append(job))
    for job in (first, second):
        submit(store, job)
        reconciler.welcome(JobFacts(TENANT, job, create_record(job)))
        await reconciler.reconcile(TENANT, first)
    assert (woken, executor.starts) == ([first], [(first, 1)])
    assert reconciler.queue_position(TENANT, second) == 1
    executor.acts(first, 1).play(["adapter", "end"])
    executor.exit(first, 1, 0)
    while not has_left(store, first)():
        await reconciler.reconcile(TENANT, first)
    assert woken == [first, second]


async def test_a_job_that_was_launched_before_it_was_welcomed_keeps_its_place() -> None:
    store = MemoryStore()
    executor = PretendedExecutor(store, {1: ["claim", "work"]})
    reconciler = Reconciler(store, executor, QUICK)
    submit(store)
    await reconciler.reconcile(TENANT, JOB)
    assert executor.starts == [(JOB, 1)]
    reconciler.welcome(JobFacts(TENANT, JOB, create_record()))
    assert reconciler.queue_position(TENANT, JOB) is None


async def test_an_older_job_that_comes_to_light_during_a_launch_does_not_get_the_same_place() -> None:
    store = MemoryStore()
    older, younger = "0" * 15 + "b", "0" * 15 + "a"
    executor = PretendedExecutor(store, {1: ["claim", "work"]})
    launch, go_on = executor.launch, threading.Event()

    def slow_launch(tenant: str, job: str, number: int, assignment: v1.Assignment, assignment_uri: str) -> None:
        launch(tenant, job, number, assignment, assignment_uri)
        assert go_on.wait(20)

    executor.launch = slow_launch  # type: ignore[method-assign]
    submit(store, younger)
    reconciler = Reconciler(store, executor, QUICK)
    async with running(reconciler):
        try:
            await until(lambda: executor.starts == [(younger, 1)])
            submit(store, older, timedelta(minutes=1))
            await until(lambda: reconciler.queue_position(TENANT, older) == 1)
        finally:
            go_on.set()
        await until(lambda: reconciler.queue_position(TENANT, younger) is None)
        assert executor.starts == [(younger, 1)]
        executor.acts(younger, 1).play(["adapter", "end"])
        executor.exit(younger, 1, 0)
        await until(lambda: executor.starts == [(younger, 1), (older, 1)])


async def test_a_job_under_way_from_before_holds_its_place_after_a_restart() -> None:
    store = MemoryStore()
    first, second = "0" * 15 + "b", "0" * 15 + "a"  # ids sort newest first: the second is looked at before the first
    executor = PretendedExecutor(store, {1: ["claim", "work"]})
    submit(store, first)
    async with running(Reconciler(store, executor, QUICK)):
        await until(lambda: executor.starts == [(first, 1)])
    submit(store, second)
    restarted = Reconciler(store, executor, replace(QUICK, looks_at_once=1))
    async with running(restarted):
        await until(lambda: restarted.queue_position(TENANT, second) == 1)
        assert executor.starts == [(first, 1)]
        executor.acts(first, 1).play(["adapter", "end"])
        executor.exit(first, 1, 0)
        await until(lambda: executor.starts == [(first, 1), (second, 1)])


async def test_without_the_lease_no_job_is_started_and_those_that_were_are_followed() -> None:
    store = MemoryStore()
    executor = PretendedExecutor(store)
    leads: list[bool] = []
    submit(store)
    reconciler = Reconciler(store, executor, QUICK, leads=lambda: bool(leads))
    async with running(reconciler):
        await until(lambda: reconciler.queue_position(TENANT, JOB) == 1)
        assert executor.starts == []
        leads.append(True)
        await until(has_left(store))


async def test_a_deleted_job_leaves_the_indexes() -> None:
    store = MemoryStore()
    executor = PretendedExecutor(store)
    submit(store)
    put_record(store, KEYS.job(JOB).tombstone, v1.Tombstone())
    async with running(Reconciler(store, executor, QUICK)):
        await until(lambda: listed(store, KEYS.active_prefix) == [])
    assert executor.starts == []
    assert listed(store, KEYS.ended_prefix) == []


async def test_a_job_of_which_only_the_tombstone_is_left_is_taken_from_the_living() -> None:
    store = MemoryStore()
    removed, unwritten = "0" * 15 + "r", "0" * 15 + "u"
    for job in (removed, unwritten):
        store.objects[KEYS.active(job)] = b""
    put_record(store, KEYS.job(removed).tombstone, v1.Tombstone())
    async with running(Reconciler(store, PretendedExecutor(store), QUICK)):
        await until(lambda: listed(store, KEYS.active_prefix) == [unwritten])
        submit(store, unwritten)
        await until(has_left(store, unwritten))


async def test_an_assignment_tells_the_trainer_all_that_it_needs() -> None:
    store = MemoryStore()
    submit(store)
    async with running(Reconciler(store, PretendedExecutor(store), QUICK)):
        await until(has_left(store))
    assignment, create = facts_of(store).launches[0].assignment, create_record()
    assert assignment.launch == 1
    assert assignment.training_job == f"trainingJobs/{JOB}"
    assert assignment.spec == create.spec
    assert assignment.base_model_uri == "memory:///_shared/bases/shapes/files/"
    assert assignment.dataset_manifest_uri == f"memory:///local/datasets/{JOB}/manifest.json"
    assert assignment.dataset_blobs_uri == f"memory:///local/datasets/{JOB}/blobs/"
    assert assignment.control_uri == f"memory:///local/jobs/{JOB}/control/"
    assert assignment.runs_uri == f"memory:///local/jobs/{JOB}/runs/"
    assert assignment.run_uri == assignment.runs_uri + "1/"
    assert assignment.line_uri == f"memory:///local/jobs/{JOB}/line/"
    assert assignment.cache_uri == "memory:///local/caches/"


class Counted:
    """Metrics as a list of what was told."""

    def __init__(self) -> None:
        self.ends: list[tuple[int, int]] = []
        self.launches: list[int] = []
        self.turns: list[bool] = []
        self.held: list[int] = []
        self.living: dict[str, JobFacts] = {}

    def looked_at(self, tenant: str, job: str, facts: JobFacts | None) -> None:
        del tenant
        self.living.pop(job, None)
        if facts is not None:
            self.living[job] = facts

    def ended(self, facts: JobFacts, outcome: v1.Outcome) -> None:
        assert facts.job == JOB
        self.ends.append((outcome.state, outcome.reason))

    def launched(self, facts: JobFacts, assignment: v1.Assignment) -> None:
        assert len(facts.launches) == assignment.launch - 1
        self.launches.append(assignment.launch)

    def started(self, assignment: v1.Assignment, start: v1.LaunchStart) -> None:
        raise AssertionError(f"the pretended executor tells of no start, but {assignment.launch} began: {start}")

    def reconciled(self, seconds: float, failed: bool) -> None:
        assert seconds >= 0
        self.turns.append(failed)

    def places(self, under_way: int, held_back: int, limit: int) -> None:
        assert (held_back, limit) == (0, QUICK.jobs)
        self.held.append(under_way)


async def test_what_happens_is_counted_once() -> None:
    store, metrics = MemoryStore(), Counted()
    submit(store)
    executor = PretendedExecutor(store, {1: ["claim", "exit 137"], 2: SUCCESS[1]})
    async with running(Reconciler(store, executor, QUICK, metrics), Reconciler(store, executor, QUICK, metrics)):
        await until(has_left(store))
        await until(lambda: metrics.held[-1] == 0 and metrics.living == {})
    assert metrics.ends == [(SUCCEEDED, v1.STATE_REASON_COMPLETED)]
    assert metrics.launches == [1, 2]
    assert metrics.turns
    assert not any(metrics.turns)
    assert 1 in metrics.held


async def test_what_another_service_brings_to_its_end_holds_no_place_here() -> None:
    store, metrics = MemoryStore(), Counted()
    executor = PretendedExecutor(store, {1: ["claim", "work"]})
    follower = Reconciler(store, executor, QUICK, metrics, leads=lambda: False)
    submit(store)
    async with running(follower):
        async with running(Reconciler(store, executor, QUICK)):
            await until(lambda: metrics.held[-1:] == [1])
        put_record(store, KEYS.job(JOB).outcome, v1.Outcome(state=CANCELLED))
        indexes.put_ended(store, TENANT, JOB, v1.Outcome(state=CANCELLED))
        indexes.clear_active(store, TENANT, JOB)
        executor.exit(JOB, 1, 0)
        await until(lambda: metrics.held[-1] == 0)
