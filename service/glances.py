"""How a job is read that is watched: as a whole now and then, and in between the one small object that its trainer rewrites.

While a trainer works, that is all that changes from second to second. Everything else of a job is changed by a service: by
this one, which says so (`look_now`), or by another, which is found by the next look at the whole.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachetools import TTLCache

from loramill import v1
from service.facts import with_status

if TYPE_CHECKING:
    from service.facts import JobFacts
    from service.jobs import Jobs

WHOLE_S, WHOLE_OF_OTHERS_S = 10.0, 1.0
"""Seconds between two looks at the whole of a job that trains, which are most of what a watched job costs, and of any other."""
_MOST, _KEPT_S = 20_000, 60.0


@dataclass(frozen=True)
class _Known:
    facts: JobFacts
    told: object
    """By the newest run of itself and by the executor of that: while it is the same, so is `job`."""
    job: v1.TrainingJob
    whole_at: float
    """When the whole was read."""


class Glances:
    """Synchronous: called in threads."""

    def __init__(self, jobs: Jobs, clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs = jobs
        self._clock = clock
        self._known: TTLCache[tuple[str, str], _Known] = TTLCache(_MOST, _KEPT_S)
        self._lock = threading.Lock()

    def read(self, tenant: str, job: str) -> v1.TrainingJob:
        """The job as it stands. Raises ResourceNotFound."""
        with self._lock:
            known: _Known | None = self._known.get((tenant, job))
        seen = self._glanced(known) if known is not None else None
        if seen is None:
            facts, began = self._jobs.facts(tenant, job), self._clock()
            with_executions = self._jobs.seen(facts)
            seen = _Known(facts, _told(with_executions), self._jobs.shown(with_executions), began)
        with self._lock:
            # Not if somebody has said meanwhile that more has changed than was looked at.
            if known is None or (tenant, job) in self._known:
                self._known[tenant, job] = seen
        return seen.job

    def look_now(self, tenant: str, job: str) -> None:
        """The next look is at the whole."""
        with self._lock:
            self._known.pop((tenant, job), None)

    def _glanced(self, known: _Known) -> _Known | None:
        """None where that does not tell enough."""
        trains, age = known.job.state == v1.TRAINING_JOB_STATE_RUNNING, self._clock() - known.whole_at
        if age >= (WHOLE_S if trains else WHOLE_OF_OTHERS_S):
            return None
        if not trains:
            return known
        facts = with_status(self._jobs.store, known.facts)
        seen = self._jobs.seen(facts)
        told = _told(seen)
        if told == known.told:
            return known
        job = self._jobs.shown(seen)
        stands_as_before = (job.state, job.state_reason) == (known.job.state, known.job.state_reason)
        return _Known(facts, told, job, known.whole_at) if stands_as_before else None


def _told(facts: JobFacts) -> object:
    newest = facts.newest
    return (newest.status, newest.execution) if newest is not None else None
