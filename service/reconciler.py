"""Drives every living job towards its outcome: observe → decide → act, over and over, from the record alone.

It keeps nothing that matters between two looks. Every write is create-only and every order to the executor may be
repeated, so it can die between any two calls, and any number of reconcilers can work on the same jobs: the first write
counts.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

import stamina
import structlog

from loramill import v1
from service import admission, holds, indexes, restored
from service.assignments import assignment_of, leads_elsewhere, passed_on
from service.compute_classes import LOCAL
from service.decision import (
    EndLaunch,
    Finish,
    Launch,
    Observation,
    Record,
    Situation,
    Stop,
    Wait,
    Withdraw,
    decide,
    is_over,
)
from service.facts import read_facts, with_adapters
from service.keys import TenantKeys
from service.launch_choice import next_class
from service.launch_notes import note_end, note_starts
from service.reconciler_metrics import NoMetrics
from service.retry import RetryPolicy
from service.times import to_datetime, utc_now
from service.usage import class_of
from service.verification import adapters_to_list, deliverables
from service.work_queue import WorkQueue
from store.records import put_record, read_record, uri_of
from store.tracing import TRACER, context_of, trace_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from service.admission_control import AdmissionControl
    from service.decision import Action
    from service.executors import Executor
    from service.facts import JobFacts
    from service.reconciler_metrics import ReconcilerMetrics
    from store.object_store import ObjectStore

log = structlog.get_logger(__name__)

_LOOKS_OF_WAITING = 20
"""Of so many looks at the living jobs, one is at those too that merely wait: another service may have moved them."""


@dataclass(frozen=True, kw_only=True)
class ReconcilerSettings:
    """How the reconciler works."""

    tenants: tuple[str, ...] = ("local",)
    """Whose jobs are driven."""
    jobs: int = 1
    """Jobs that may be under way at once."""
    interval: timedelta = timedelta(seconds=1)
    """Between two looks at the list of living jobs; one that another service has accepted is noticed by then."""
    look_again: timedelta = timedelta(0)
    """Between two looks at each of them; what nobody tells of, such as the end of a process, is noticed by then. At least
    the interval."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    looks_at_once: int = 8
    """Jobs that are looked at, and acted upon, at the same time."""
    attempts: int = 10
    """How often a turn that fails is tried, ever later, before it is given up until the next regular look."""
    longest_wait: timedelta = timedelta(seconds=30)
    """Between two of these attempts."""


class JobKey(NamedTuple):
    tenant: str
    job: str


class Reconciler:
    """One per service. `run` works until it is cancelled; everything else is called from the same event loop."""

    def __init__(
        self,
        store: ObjectStore,
        executor: Executor,
        settings: ReconcilerSettings | None = None,
        metrics: ReconcilerMetrics | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
        leads: Callable[[], bool] = lambda: True,
        control: AdmissionControl | None = None,
    ) -> None:
        """`leads` tells whether this service may give places to waiting jobs; all else every service does. `control` tells
        which of them operators hold back; without one, none.
        """
        self._store = store
        self._executor = executor
        self._settings = settings or ReconcilerSettings()
        self._metrics = metrics or NoMetrics()
        self._clock = clock
        self._leads = leads
        self._control = control
        self._admission = v1.Admission()
        self._queue: WorkQueue[JobKey] = WorkQueue()
        self._turns = asyncio.Semaphore(self._settings.looks_at_once)
        longest = self._settings.longest_wait
        self._patient = stamina.AsyncRetryingCaller(attempts=self._settings.attempts, timeout=None, wait_max=longest)
        self._persistent = stamina.AsyncRetryingCaller(attempts=None, timeout=None, wait_max=longest)
        self._places = admission.Places(self._settings.jobs)
        self._changed: Callable[[str, str], None] = lambda _tenant, _job: None
        self._watched_since = clock()

    def wake(self, tenant: str, job: str) -> None:
        """Looks at a job now: it was created, or something about it has changed."""
        self._queue.add(JobKey(tenant, job))

    def welcome(self, facts: JobFacts) -> None:
        """Takes up a job that was recorded just now, of which nothing else can be there; it is looked at if its turn has come."""
        key = JobKey(facts.tenant, facts.job)
        if key not in self._places:  # else it was found in the list, and more may be known of it
            self._keep_place(key, Observation(facts))
        if not self._merely_waits(key):
            self.wake(*key)

    def on_change(self, changed: Callable[[str, str], None]) -> None:
        """From now on `changed` hears, on the event loop's thread, of every job that something was done about here."""
        self._changed = changed

    def queue_position(self, tenant: str, job: str) -> int | None:
        """From 1, the next to start; None if the job does not wait, or was not looked at yet. May be asked from any thread."""
        return self._places.positions.get((tenant, job))

    def waits_its_turn(self, tenant: str, job: str) -> bool:
        """Whether the job was never launched and nobody holds it back. May be asked from any thread."""
        place = self._places.get(JobKey(tenant, job))
        return place is not None and place.waits and not place.held_back

    async def run(self) -> None:
        self._watched_since = self._clock()
        await self._persistent(Exception, self._begin)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look_regularly())
            while True:
                tasks.create_task(self._take_turn(await self._queue.take()))

    async def reconcile(self, tenant: str, job: str) -> Action | None:
        """One turn: looks at a job and does the one thing that is due. None if there is no such job (any more)."""
        key = JobKey(tenant, job)
        # Observe: the record, the executor and, where they decide, the files that the job is for.
        observation = await asyncio.to_thread(self._observe, key)
        self._keep_place(key, observation)
        if observation is None:
            await asyncio.to_thread(indexes.clear_removed, self._store, tenant, job)
            return None
        # Decide, from nothing but that.
        facts, admission_then = observation.facts, self._admission
        action = decide(observation, self._situation(key, facts))
        # Act.
        match action:
            case Wait(until):
                if until is not None:
                    self._look_again(key, until)
            case Launch(number, compute_class):
                # Taken before anything is waited for: an older job may come to light meanwhile, and must not find it free.
                self._places[key] = replace(self._places[key], waits=False)
                # Asked for now, so that none begins after an operator was told that none does.
                if number > len(facts.launches):
                    await self._read_admission()
                if self._admission != admission_then:
                    return await self.reconcile(tenant, job)
                await asyncio.to_thread(self._launch, facts, number, compute_class)
                self._look_again(key)
            case EndLaunch(number, end):
                await asyncio.to_thread(self._end_launch, facts, number, end)
                self._look_again(key, self._clock())
            case Stop(numbers):
                await asyncio.to_thread(self._stop, facts, numbers)
            case Record(outcome):
                await asyncio.to_thread(self._record, facts, outcome)
                self._look_again(key, self._clock())
            case Finish(outcome, stop):
                await asyncio.to_thread(self._finish, facts, outcome, stop)
            case Withdraw():
                await asyncio.to_thread(indexes.clear_deleted, self._store, tenant, job, facts.outcome)
        if not isinstance(action, Wait):
            self._changed(tenant, job)
        return action

    # -- observe -------------------------------------------------------------------------------------------------------

    def _observe(self, key: JobKey) -> Observation | None:
        facts = read_facts(self._store, key.tenant, key.job, self._executor, adapters=False)
        if facts is None:
            return None
        for assignment, start in note_starts(self._store, facts):
            self._metrics.started(assignment, start)
        ended = facts.outcome is not None or facts.tombstone is not None
        stray = None
        if not ended and self._admission.restored:
            stray = self._executor.observe(key.tenant, key.job, len(facts.launches) + 1)
        if not ended and (not facts.launches or not is_over(facts, self._clock(), self._watched_since)):
            return Observation(facts, stray=stray, leads_elsewhere=leads_elsewhere(self._store, facts))
        facts = with_adapters(self._store, facts)
        finals = () if ended else deliverables(self._store, facts)
        return Observation(facts, finals, stray, leads_elsewhere(self._store, facts))

    def _keep_place(self, key: JobKey, observation: Observation | None) -> None:
        """Remembers whether the job waits, is under way or needs no place; one that becomes free is given on."""
        facts = observation.facts if observation is not None else None
        over = facts is None or facts.outcome is not None or facts.tombstone is not None
        self._metrics.looked_at(*key, None if over else facts)
        if facts is None or (over and not facts.alive):
            freed = self._places.pop(key, None) is not None
        else:
            created = to_datetime(facts.create.create_time)
            self._places[key] = admission.Place(*key, created, not facts.launches, self._held_back(facts))
            freed = False
        self._metrics.places(self._places.under_way, self._places.held_back, self._settings.jobs)
        if freed:
            for place in self._places.next_ones:
                self.wake(place.tenant, place.job)

    def _held_back(self, facts: JobFacts) -> bool:
        return bool(holds.held_back_job(self._admission, facts))

    def _situation(self, key: JobKey, facts: JobFacts) -> Situation:
        first, set_ = not facts.launches, self._admission
        chosen = next_class(facts, lambda name: holds.takes(set_, name, first=first))
        return Situation(
            now=self._clock(),
            admitted=self._places.get(key) in self._places.next_ones and self._leads(),
            policy=self._settings.retry,
            watched_since=self._watched_since,
            compute_class="" if chosen == LOCAL else chosen,
            emptied=holds.emptied(set_, class_of(facts)),
            restored=set_.restored,
        )

    # -- act -----------------------------------------------------------------------------------------------------------

    def _launch(self, facts: JobFacts, number: int, compute_class: str) -> None:
        about: dict[str, str | int] = {"loramill.job": facts.job, "loramill.launch": number}
        with TRACER.start_as_current_span("launch", context_of(facts.create.trace_parent), attributes=about):
            self._record_and_start(facts, number, compute_class)

    def _record_and_start(self, facts: JobFacts, number: int, compute_class: str) -> None:
        key = TenantKeys(facts.tenant).job(facts.job).launch(number)
        if number <= len(facts.launches):
            assignment = facts.launches[number - 1].assignment
        else:
            note_end(self._store, facts, self._clock(), self._watched_since)
            assignment = assignment_of(self._store, facts, number, self._clock(), compute_class)
            assignment.trace_parent = trace_parent()
            if put_record(self._store, key, assignment, passed_on(self._store, facts)):
                self._metrics.launched(facts, assignment)
                log.info("launch recorded", tenant=facts.tenant, job=facts.job, launch=number)
            else:  # another service was first, and its word counts
                assignment = read_record(self._store, key, v1.Assignment) or assignment
        self._executor.launch(facts.tenant, facts.job, number, assignment, uri_of(self._store, key))

    def _end_launch(self, facts: JobFacts, number: int, end: v1.LaunchEnd) -> None:
        if put_record(self._store, TenantKeys(facts.tenant).job(facts.job).seen_end(number), end):
            log.info("launch ended", tenant=facts.tenant, job=facts.job, launch=number, message=end.message)

    def _stop(self, facts: JobFacts, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._executor.stop(facts.tenant, facts.job, number)

    def _record(self, facts: JobFacts, outcome: v1.Outcome) -> None:
        note_end(self._store, facts, self._clock(), self._watched_since)
        if put_record(self._store, TenantKeys(facts.tenant).job(facts.job).outcome, outcome):
            self._metrics.ended(facts, outcome)
            state = v1.TrainingJobState.Name(outcome.state)
            log.info("job ended", tenant=facts.tenant, job=facts.job, state=state, message=outcome.message)

    def _finish(self, facts: JobFacts, outcome: v1.Outcome, stop: Iterable[int]) -> None:
        """In this order: whoever finds the job in no index but `active/` does it all again."""
        indexes.put_ended(self._store, facts.tenant, facts.job, outcome)
        for committed in adapters_to_list(self._store, facts):
            if committed.whole:
                indexes.put_adapter(self._store, facts.tenant, committed.adapter_id, committed.manifest_key)
            else:
                log.warning("adapter is not whole", adapter=committed.adapter_id, problem=committed.problem)
        self._stop(facts, stop)
        if not facts.alive:
            indexes.clear_active(self._store, facts.tenant, facts.job)

    # -- when ----------------------------------------------------------------------------------------------------------

    def _look_again(self, key: JobKey, at: datetime | None = None) -> None:
        """At that time, or after an interval. A time beyond the next regular look is left to that."""
        delay = self._settings.interval if at is None else at - self._clock()
        if delay <= max(self._settings.interval, self._settings.look_again):
            asyncio.get_running_loop().call_later(max(0.0, delay.total_seconds()), self._queue.add, key)

    async def _begin(self) -> None:
        """Completes what was left half-made, then learns who holds a place before any is given away."""
        for tenant in self._settings.tenants:
            completed = await asyncio.to_thread(indexes.sweep, self._store, tenant)
            if completed:
                log.info("jobs that were recorded and not listed are listed now", tenant=tenant, jobs=completed)
        await self._read_admission()
        observed = await asyncio.gather(*(self._learn_place(key) for key in await asyncio.to_thread(self._active)))
        if self._control is not None:
            await asyncio.to_thread(self._notice_restore, self._control, [each.facts for each in observed if each])
            await self._read_admission()

    def _notice_restore(self, control: AdmissionControl, living: list[JobFacts]) -> None:
        """Pauses where the executor knows more than the record: then the store is an older copy of itself."""
        found = restored.without_last_word(living, control.acknowledged)
        found = found or restored.without_record(self._store, self._executor.known(), control.acknowledged)
        if found is not None:
            control.pause_for_restore(restored.reason_of(found))

    async def _learn_place(self, key: JobKey) -> Observation | None:
        async with self._turns:
            try:
                observation = await asyncio.to_thread(self._observe, key)
                self._keep_place(key, observation)
                return observation
            except Exception:
                log.exception(
                    "job could not be looked at; it holds no place until it can be", tenant=key.tenant, job=key.job
                )
                return None

    def _active(self) -> list[JobKey]:
        tenants = frozenset(self._settings.tenants)
        return [JobKey(*found) for found in indexes.all_active_jobs(self._store) if found[0] in tenants]

    async def _look_regularly(self) -> None:
        rounds_of_a_look = max(1, round(self._settings.look_again / self._settings.interval))
        for round_ in itertools.count():
            regular = round_ % rounds_of_a_look == 0
            # Whose turn it is not to give places hears of others' jobs at the next look: no requests cost more than listings.
            lists = regular or self._leads()
            active = await self._persistent(Exception, asyncio.to_thread, self._active) if lists else []
            if regular:
                await self._persistent(Exception, self._read_admission)
            self._take_up_admission()
            # And those that hold a place here: what works for a job after its end, and what another service has ended.
            for key in {*active, *self._places}:
                # In rounds that its id tells, so that calls need not wait while all are looked at.
                until = (crc32(key.job.encode()) - round_) % (rounds_of_a_look * _LOOKS_OF_WAITING)
                due = until % rounds_of_a_look == 0 and (until == 0 or not self._merely_waits(key))
                if due or key not in self._places:
                    self._queue.add(key)
            await asyncio.sleep(self._settings.interval.total_seconds())

    async def _read_admission(self) -> None:
        """Takes up what operators have set, whichever service they told. Raises StoreError."""
        if self._control is not None:
            await asyncio.to_thread(self._control.refresh)
        self._take_up_admission()

    def _take_up_admission(self) -> None:
        """The same, as far as this very service was told or has read it. After a change all jobs are looked at."""
        if self._control is None or self._admission == self._control.admission:
            return
        self._admission = self._control.admission
        for place in self._places.values():
            self.wake(place.tenant, place.job)

    def _merely_waits(self, key: JobKey) -> bool:
        """Whether nothing is expected of the job: others are before it, and who changes something about it wakes it."""
        place = self._places.get(key)
        return place is not None and place.waits and place not in self._places.next_ones

    async def _take_turn(self, key: JobKey) -> None:
        """One turn of a job, tried again ever later if it fails; meanwhile the others have theirs."""
        try:
            await self._patient(Exception, self._measured_turn, key)
        except Exception:
            log.exception("turn of a job failed; the next one follows", tenant=key.tenant, job=key.job)
        finally:
            self._queue.done(key)

    async def _measured_turn(self, key: JobKey) -> None:
        async with self._turns:
            began, failed = time.perf_counter(), False
            try:
                await self.reconcile(*key)
            except Exception:
                failed = True
                raise
            finally:
                self._metrics.reconciled(time.perf_counter() - began, failed)
