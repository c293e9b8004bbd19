"""What only the executor knows of launches is recorded before it forgets it: how they came to run, and how they ended.

Create-only, so that every service may do it, and what follows from it stays the same when pods and Jobs are long gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loramill import v1
from service.causes import cause_of, end_seen_of, own_word
from service.executors import ExecutionState
from service.keys import TenantKeys
from service.times import to_timestamp
from store.records import put_record

if TYPE_CHECKING:
    from datetime import datetime

    from service.facts import JobFacts
    from store.object_store import ObjectStore


def note_starts(store: ObjectStore, facts: JobFacts) -> list[tuple[v1.Assignment, v1.LaunchStart]]:
    """Of each launch whose trainer was seen to run; those that were noted here and now."""
    noted = []
    keys = TenantKeys(facts.tenant).job(facts.job)
    for launch in facts.launches:
        execution = launch.execution
        if launch.start is not None or execution is None or execution.started_time is None:
            continue
        start = v1.LaunchStart(schema_version=1, started_time=to_timestamp(execution.started_time), node=execution.node)
        if execution.scheduled_time is not None:
            start.scheduled_time.CopyFrom(to_timestamp(execution.scheduled_time))
        if put_record(store, keys.start(launch.number), start):
            noted.append((launch.assignment, start))
    return noted


def note_end(store: ObjectStore, facts: JobFacts, now: datetime, watched_since: datetime) -> None:
    """Of the newest launch, if it is over and its run left no word, or could not know why it was stopped.

    Done before anything follows from it. `watched_since` as in `cause_of`.
    """
    newest = facts.newest
    if newest is None or newest.seen_end is not None or newest.execution is None:
        return
    if own_word(newest) is not None:
        return
    cause = cause_of(newest, now, watched_since)
    if cause is None:
        return
    if newest.execution.state is ExecutionState.EXITED:
        end = end_seen_of(newest.execution, cause.time)
    else:  # it is gone, and only what that means is known
        end = v1.LaunchEnd(schema_version=1, message=cause.message, create_time=to_timestamp(cause.time))
    put_record(store, TenantKeys(facts.tenant).job(facts.job).seen_end(newest.number), end)
