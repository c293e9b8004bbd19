"""What is measured of the jobs that live now: kept in memory from the reconciler's looks, added up when the page is read.

The object store is asked for nothing. Each replica sees every job, so all of them tell the same; whoever adds replicas up
counts jobs several times.
"""

from __future__ import annotations

import threading
from collections import Counter as Tally
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from loramill import v1
from service.job import standing_of
from service.launch_choice import plan_of
from service.times import to_datetime, utc_now
from service.usage import class_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from prometheus_client import CollectorRegistry

    from service.facts import JobFacts

STALLED_AFTER = timedelta(minutes=15)
"""A trainer that has told nothing new for so long counts as stalled."""


@dataclass(frozen=True)
class _Job:
    tenant: str
    state: str
    reason: str
    compute_class: str
    gpus: int
    """In use now."""
    created: datetime
    told: tuple[object, ...]
    """What its trainer last told: any change of it is progress."""
    told_since: datetime

    @property
    def waits(self) -> bool:
        return self.state == "QUEUED"


class LivingJobs(Collector):
    """Written by the reconciler, read by the page's threads."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        self._jobs: dict[tuple[str, str], _Job] = {}
        self._lock = threading.Lock()
        registry.register(self)

    def looked_at(self, tenant: str, job: str, facts: JobFacts | None) -> None:
        """None for one that lives no more."""
        key = (tenant, job)
        now = self._clock()
        seen = _job(facts, now) if facts is not None else None
        with self._lock:
            if seen is None:
                self._jobs.pop(key, None)
                return
            before = self._jobs.get(key)
            if before is not None and before.told == seen.told:
                seen = replace(seen, told_since=before.told_since)
            self._jobs[key] = seen

    def collect(self) -> Iterable[GaugeMetricFamily]:
        with self._lock:
            jobs = list(self._jobs.values())
        now = self._clock()
        waiting = [job for job in jobs if job.waits]
        stalled = sum(job.state == "RUNNING" and now - job.told_since > STALLED_AFTER for job in jobs)
        oldest: dict[tuple[str, ...], float] = {}
        for job in waiting:
            waited = (now - job.created).total_seconds()
            oldest[job.compute_class,] = max(oldest.get((job.compute_class,), 0.0), waited)
        gpus: Tally[tuple[str, ...]] = Tally()
        for job in jobs:
            gpus[job.tenant, job.compute_class] += job.gpus
        yield _family(
            "jobs",
            "Jobs that have not ended, by state and reason.",
            ("state", "reason"),
            Tally((job.state, job.reason) for job in jobs),
        )
        yield _family(
            "queue_waiting",
            "Jobs that wait for a place.",
            ("compute_class",),
            Tally((job.compute_class,) for job in waiting),
        )
        yield _family(
            "queue_oldest_wait_seconds",
            "How long the job that waits longest has waited.",
            ("compute_class",),
            oldest,
        )
        yield _family("gpus_in_use", "GPUs of trainers that run.", ("tenant", "compute_class"), gpus)
        yield GaugeMetricFamily(
            "loramill_jobs_stalled", "Running jobs whose trainer has told nothing new for 15 minutes.", value=stalled
        )

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return self.collect()


def _job(facts: JobFacts, now: datetime) -> _Job:
    standing = standing_of(facts, now)
    state = v1.TrainingJobState.Name(standing.state).removeprefix("TRAINING_JOB_STATE_")
    newest = facts.newest
    progress = newest.status.progress if newest is not None and newest.status is not None else v1.Progress()
    return _Job(
        tenant=facts.tenant,
        state=state,
        reason=v1.StateReason.Name(standing.reason).removeprefix("STATE_REASON_"),
        compute_class=class_of(facts),
        gpus=plan_of(facts.create, class_of(facts)).gpus if state == "RUNNING" else 0,
        created=to_datetime(facts.create.create_time),
        told=(newest.number if newest else 0, state, progress.phase, progress.step, progress.message),
        told_since=now,
    )


def _family(
    name: str, help_text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"loramill_{name}", help_text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family
