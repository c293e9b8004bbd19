"""What is known of one job: the record as it stands in the store, and what the executor sees.

The record decides; an execution is what a launch looks like from outside at this moment. Everything that is derived
from the facts (state, retry, outcome) is pure and stands in files of its own.
"""

from __future__ import annotations

import itertools
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from loramill import v1
from service.executors import ExecutionState
from service.keys import RunKeys, TenantKeys
from store.object_store import RecordError
from store.records import read_record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

    from service.executors import Execution, Executor
    from service.keys import JobKeys
    from store.object_store import ObjectStore

M = TypeVar("M", bound="Message")

_READERS = ThreadPoolExecutor(32, "facts")
"""They read single records, so that a job takes as long as the few that must follow each other. Nobody in them waits for them."""


@dataclass(frozen=True)
class LaunchFacts:
    """One launch, and what its run has left so far."""

    assignment: v1.Assignment
    start: v1.LaunchStart | None = None
    """How its pod came to run; None where that is not recorded, as always in local mode."""
    claim: v1.Claim | None = None
    status: v1.RunStatus | None = None
    end: v1.End | None = None
    """The run's own last word."""
    seen_end: v1.LaunchEnd | None = None
    """How it ended as the service saw it; None where its run has said all of it, or where that is not recorded (yet)."""
    execution: Execution | None = None
    """None: not looked at. The record alone then tells how the launch stands."""
    adapters: tuple[v1.AdapterManifest, ...] = ()
    """Committed by this run, in order of key; whether their files are whole is not known from here. Empty where they were not
    asked for."""

    @property
    def number(self) -> int:
        return self.assignment.launch

    @property
    def alive(self) -> bool:
        """Whether a trainer works for this launch, as far as the executor was asked. One that was given up does not count."""
        return self.execution is not None and self.execution.alive and not self.given_up

    @property
    def given_up(self) -> bool:
        """Whether an operator has ended it in the record, whatever its trainer does."""
        return self.seen_end is not None and self.seen_end.reason == v1.STATE_REASON_GIVEN_UP

    @property
    def is_zombie(self) -> bool:
        """Whether its trainer is still seen to work although it was given up."""
        return self.given_up and self.execution is not None and self.execution.alive

    @property
    def suspended(self) -> bool:
        """Whether somebody holds it back by hand, as far as the executor was asked."""
        return self.execution is not None and self.execution.suspended


@dataclass(frozen=True)
class JobFacts:
    """One job. `launches` are in order of number, from 1 without gaps."""

    tenant: str
    job: str
    create: v1.CreateRecord
    launches: tuple[LaunchFacts, ...] = ()
    cancel: v1.CancelIntent | None = None
    """Not looked for where the outcome is recorded, which alone counts then: lists show many such jobs."""
    outcome: v1.Outcome | None = None
    tombstone: v1.Tombstone | None = None

    @property
    def newest(self) -> LaunchFacts | None:
        return self.launches[-1] if self.launches else None

    @property
    def alive(self) -> bool:
        return any(launch.alive for launch in self.launches)


def read_facts(
    store: ObjectStore, tenant: str, job: str, executor: Executor | None = None, *, adapters: bool = True
) -> JobFacts | None:
    """One job, with executions if an executor is given. None if there is no such job, or only its tombstone is left. Without
    `adapters` those that its runs committed are left out, of which listings are the dearest requests.

    Raises RecordError for a record that cannot be read, StoreError and ExecutorError. It is no snapshot: what was written
    while it was read may be in it or not, so whoever writes because of it writes create-only. But each launch's execution
    is looked at before its records are read: all that a run has left is in the facts if they say that its trainer is gone.
    """
    keys = TenantKeys(tenant).job(job)
    create = _reading(store, keys.record, v1.CreateRecord)
    # The outcome before the launches, so that it never appears beside launches that are older than it.
    outcome = read_record(store, keys.outcome, v1.Outcome)
    created = create.result()
    if created is None:
        return None
    assignments = _read_assignments(store, keys)
    launches = _looked_at(
        store, keys, assignments, lambda number: executor.observe(tenant, job, number) if executor else None
    )
    if adapters:
        launches = _with_adapters(store, keys, launches)
    # After the looks, so that who sees a trainer gone that was stopped sees why.
    cancel = _reading(store, keys.cancel, v1.CancelIntent) if outcome is None else None
    # At last: it stands before anything of the job is removed, so that no half of a job is taken for a whole one.
    tombstone = read_record(store, keys.tombstone, v1.Tombstone)
    return JobFacts(
        tenant=tenant,
        job=job,
        create=created,
        launches=launches,
        cancel=cancel.result() if cancel is not None else None,
        outcome=outcome,
        tombstone=tombstone,
    )


def with_executions(facts: JobFacts, executor: Executor) -> JobFacts:
    """The same facts with what the executor sees of each launch that is the newest or has not said its last word.

    To be shown, not to be decided upon: a run that ends between the reading and the look seems to have left no last word.
    """
    launches = tuple(
        launch
        if launch.end is not None and launch is not facts.newest
        else replace(launch, execution=executor.observe(facts.tenant, facts.job, launch.number))
        for launch in facts.launches
    )
    return replace(facts, launches=launches)


def with_status(store: ObjectStore, facts: JobFacts) -> JobFacts:
    """The same facts with what the newest run tells of itself by now: one request."""
    *before, newest = facts.launches
    keys = TenantKeys(facts.tenant).job(facts.job).run(newest.number)
    return replace(facts, launches=(*before, replace(newest, status=read_record(store, keys.status, v1.RunStatus))))


def with_adapters(store: ObjectStore, facts: JobFacts) -> JobFacts:
    """The same facts with what the runs have committed by now."""
    keys = TenantKeys(facts.tenant).job(facts.job)
    return replace(facts, launches=_with_adapters(store, keys, facts.launches))


def _with_adapters(store: ObjectStore, job: JobKeys, launches: Sequence[LaunchFacts]) -> tuple[LaunchFacts, ...]:
    found = [_READERS.submit(_read_adapters, store, job.run(launch.number)) for launch in launches]
    return tuple(replace(launch, adapters=adapters.result()) for launch, adapters in zip(launches, found, strict=True))


def _reading(store: ObjectStore, key: str, message_type: type[M]) -> Future[M | None]:
    return _READERS.submit(read_record, store, key, message_type)


def _read_assignments(store: ObjectStore, job: JobKeys) -> list[v1.Assignment]:
    """Of all launches. They are numbered without gaps, so that the first that is not there ends them: asking for it costs a
    twelfth of a listing, and those that are there are remembered."""
    assignments: list[v1.Assignment] = []
    for number in itertools.count(1):
        found = read_record(store, job.launch(number), v1.Assignment)
        if found is None:
            break
        if found.launch != number:
            raise RecordError(
                f"{job.launch(number)} must hold the assignment of launch {number}; restore it or delete the job"
            )
        assignments.append(found)
    return assignments


def _looked_at(
    store: ObjectStore, job: JobKeys, assignments: Sequence[v1.Assignment], look: Callable[[int], Execution | None]
) -> tuple[LaunchFacts, ...]:
    """The launches, each looked at before its records are read. A claim beside an execution that was absent came after the look,
    or the execution is gone since: a second look, after the claim, tells which."""
    for _ in range(2):
        looks = [look(assignment.launch) for assignment in assignments]
        launches = _read_launches(store, job, assignments, looks)
        if not any(_claimed_though_absent(launch) for launch in launches):
            break
    return launches


def _claimed_though_absent(launch: LaunchFacts) -> bool:
    absent = launch.execution is not None and launch.execution.state is ExecutionState.ABSENT
    return absent and launch.claim is not None and launch.end is None


def _read_launches(
    store: ObjectStore, job: JobKeys, assignments: Sequence[v1.Assignment], looks: Sequence[Execution | None]
) -> tuple[LaunchFacts, ...]:
    # The ends before the rest: what a run wrote before its end is then there too.
    ends = [end.result() for end in [_reading(store, job.run(launch.launch).end, v1.End) for launch in assignments]]
    runs = [
        _RunReading(store, job, launch.launch, end, look)
        for launch, end, look in zip(assignments, ends, looks, strict=True)
    ]
    return tuple(run.facts(assignment) for assignment, run in zip(assignments, runs, strict=True))


class _RunReading:
    """What a run has left beside its end, being read."""

    def __init__(
        self, store: ObjectStore, job: JobKeys, number: int, end: v1.End | None, execution: Execution | None
    ) -> None:
        keys = job.run(number)
        self._end, self._execution = end, execution
        self._start = _reading(store, job.start(number), v1.LaunchStart)
        self._claim = _reading(store, keys.claim, v1.Claim)
        self._status = _reading(store, keys.status, v1.RunStatus)
        self._seen_end = _reading(store, job.seen_end(number), v1.LaunchEnd) if _leaves_open_why(end) else None

    def facts(self, assignment: v1.Assignment) -> LaunchFacts:
        return LaunchFacts(
            assignment=assignment,
            start=self._start.result(),
            claim=self._claim.result(),
            status=self._status.result(),
            end=self._end,
            seen_end=self._seen_end.result() if self._seen_end else None,
            execution=self._execution,
        )


def _leaves_open_why(end: v1.End | None) -> bool:
    """Whether the service may know more of how a run ended than its last word says: its node drove it out, or it was given up."""
    return end is None or end.exit_code != v1.EXIT_CODE_SUCCESS


def _read_adapters(store: ObjectStore, keys: RunKeys) -> tuple[v1.AdapterManifest, ...]:
    found = [
        read_record(store, entry.key, v1.AdapterManifest)
        for entry in store.list(keys.adapters_prefix)
        if entry.key.endswith("/manifest.json")
    ]
    return tuple(manifest for manifest in found if manifest is not None)
