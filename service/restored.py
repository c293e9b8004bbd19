"""Notices that the store is an older copy of itself: what the executor knows of launches must stand in the record.

Each launch is recorded before its Job is made, and a run writes its last word before its trainer ends with success. So a Job
without a record, or a success without a last word, tells that the record was taken back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from loramill import v1
from service.executors import ExecutionState
from service.keys import TenantKeys, job_name
from service.times import to_datetime, to_timestamp
from store.object_store import NotFound

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from service.executors import Execution, KnownLaunch
    from service.facts import JobFacts
    from store.object_store import ObjectStore

_LOOKED_FOR = 64
"""Of what the executor knows the newest so many are looked for: an older copy lacks just these."""


@dataclass(frozen=True)
class Ahead:
    """Something that the executor knows and the record does not."""

    tenant: str
    job: str
    what: str
    """One sentence without its end."""


def without_record(store: ObjectStore, known: Collection[KnownLaunch], acknowledged: datetime | None) -> Ahead | None:
    """A launch that was begun after `acknowledged` and is not recorded, though its job was not deleted."""
    # Of launches of one job the highest number is the newest; ids of jobs sort newest first.
    newest = sorted(known, key=lambda launch: (launch.job, -launch.number))[:_LOOKED_FOR]
    for launch in newest:
        keys = TenantKeys(launch.tenant).job(launch.job)
        late = acknowledged is None or launch.begun > acknowledged
        if late and not _is_there(store, keys.launch(launch.number)) and not _is_there(store, keys.tombstone):
            what = f"launch {launch.number} of {job_name(launch.job)} was begun at {launch.begun:%Y-%m-%d %H:%M:%S} UTC"
            return Ahead(launch.tenant, launch.job, what)
    return None


def without_last_word(jobs: Iterable[JobFacts], acknowledged: datetime | None) -> Ahead | None:
    """A living job whose newest trainer has ended with success, but has no last word."""
    for facts in jobs:
        newest = facts.newest
        if newest is None or facts.outcome is not None or not _succeeded_without_word(newest.execution, newest.end):
            continue
        if acknowledged is None or to_datetime(newest.assignment.create_time) > acknowledged:
            what = f"launch {newest.number} of {job_name(facts.job)} has ended with success"
            return Ahead(facts.tenant, facts.job, what)
    return None


def reason_of(ahead: Ahead) -> str:
    """What operators and waiting jobs are told."""
    return f"the store seems to be restored from an older copy ({ahead.what}, of which the record knows nothing)"


def lost_outcome(facts: JobFacts, stray: Execution | None, now: datetime) -> v1.Outcome | None:
    """The outcome of a job that had finished after the copy was taken, as its trainer's end tells; None where none tells so.

    `stray` is what the executor knows of the launch after the newest recorded one.
    """
    newest = facts.newest
    finished = _succeeded_without_word(newest.execution, newest.end) if newest is not None else False
    if not finished and not _succeeded_without_word(stray, None):
        return None
    return v1.Outcome(
        schema_version=1,
        state=v1.TRAINING_JOB_STATE_FAILED,
        reason=v1.STATE_REASON_RECORD_LOST,
        message=(
            "It had finished, but the store was restored from a copy that is older than its adapter; create the job again with a "
            "new request_id: the same spec and seed make the same adapter."
        ),
        create_time=to_timestamp(now),
    )


def _succeeded_without_word(execution: Execution | None, end: v1.End | None) -> bool:
    return (
        end is None
        and execution is not None
        and execution.state is ExecutionState.EXITED
        and execution.exit_code == v1.EXIT_CODE_SUCCESS
    )


def _is_there(store: ObjectStore, key: str) -> bool:
    try:
        store.info(key)
    except NotFound:
        return False
    return True
