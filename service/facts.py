"""What is known of one job: the record as it stands in the store, and what the executor sees.

The record decides; an execution is what a launch looks like from outside at this moment. Everything that is derived
from the facts (state, retry, outcome) is pure and stands in files of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loramill import v1
from service.keys import RunKeys, TenantKeys, number_of
from store.object_store import RecordError
from store.records import read_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.executors import Execution, Executor
    from service.keys import JobKeys
    from store.object_store import ObjectStore


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
    """Committed by this run, in order of key; whether their files are whole is not known from here."""

    @property
    def number(self) -> int:
        return self.assignment.launch

    @property
    def alive(self) -> bool:
        """Whether a trainer works for this launch, as far as the executor was asked."""
        return self.execution is not None and self.execution.alive

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
    outcome: v1.Outcome | None = None
    tombstone: v1.Tombstone | None = None

    @property
    def newest(self) -> LaunchFacts | None:
        return self.launches[-1] if self.launches else None

    @property
    def alive(self) -> bool:
        return any(launch.alive for launch in self.launches)


def read_facts(store: ObjectStore, tenant: str, job: str, executor: Executor | None = None) -> JobFacts | None:
    """One job, with executions if an executor is given. None if there is no such job, or only its tombstone is left.

    Raises RecordError for a record that cannot be read, StoreError and ExecutorError. It is no snapshot: what was written
    while it was read may be in it or not, so whoever writes because of it writes create-only. But each launch's execution
    is looked at before its records are read: all that a run has left is in the facts if they say that its trainer is gone.
    """
    keys = TenantKeys(tenant).job(job)
    # The outcome first, so that it never appears beside launches that are older than it.
    outcome = read_record(store, keys.outcome, v1.Outcome)
    create = read_record(store, keys.record, v1.CreateRecord)
    if create is None:
        return None
    return JobFacts(
        tenant=tenant,
        job=job,
        create=create,
        launches=tuple(
            _read_run(store, assignment, keys, executor.observe(tenant, job, assignment.launch) if executor else None)
            for assignment in _read_assignments(store, keys)
        ),
        cancel=read_record(store, keys.cancel, v1.CancelIntent),
        outcome=outcome,
        tombstone=read_record(store, keys.tombstone, v1.Tombstone),
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


def _read_assignments(store: ObjectStore, keys: JobKeys) -> Iterator[v1.Assignment]:
    for entry in store.list(keys.launches_prefix):
        number = number_of(entry.key)
        assignment = read_record(store, entry.key, v1.Assignment)
        if assignment is None or assignment.launch != number:
            raise RecordError(f"{entry.key} must hold the assignment of launch {number}; restore it or delete the job")
        yield assignment


def _read_run(store: ObjectStore, assignment: v1.Assignment, job: JobKeys, execution: Execution | None) -> LaunchFacts:
    keys = job.run(assignment.launch)
    # The end first: what its run wrote before it is then there too.
    end = read_record(store, keys.end, v1.End)
    return LaunchFacts(
        assignment=assignment,
        start=read_record(store, job.start(assignment.launch), v1.LaunchStart),
        claim=read_record(store, keys.claim, v1.Claim),
        status=read_record(store, keys.status, v1.RunStatus),
        end=end,
        seen_end=read_record(store, job.seen_end(assignment.launch), v1.LaunchEnd) if _leaves_open_why(end) else None,
        execution=execution,
        adapters=tuple(_read_adapters(store, keys)),
    )


def _leaves_open_why(end: v1.End | None) -> bool:
    """Whether the service may know more of how a run ended than its last word says."""
    return end is None or end.exit_code == v1.EXIT_CODE_PREEMPTED


def _read_adapters(store: ObjectStore, keys: RunKeys) -> Iterator[v1.AdapterManifest]:
    for entry in store.list(keys.adapters_prefix):
        if entry.key.endswith("/manifest.json"):
            manifest = read_record(store, entry.key, v1.AdapterManifest)
            if manifest is not None:
                yield manifest
