"""What the reconciler counts, for Prometheus. Each event is counted by one replica alone, so replicas may be added up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from loramill import v1
from service.causes import REASONS
from service.compute_classes import LOCAL
from service.launch_choice import gave_no_machine
from service.living_jobs import LivingJobs
from service.metrics import SECONDS
from service.times import to_datetime
from service.usage import class_of, gpu_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.timestamp_pb2 import Timestamp
    from prometheus_client import CollectorRegistry

    from service.facts import JobFacts

_LONG = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
"""Seconds of what takes from a moment to a day."""


class ReconcilerCounts:
    """See ReconcilerMetrics."""

    def __init__(self, registry: CollectorRegistry, compute_classes: Iterable[str] = ()) -> None:
        """What is known to be counted one day is 0 until then: the growth of a counter that begins with 1 is seen by no rate."""
        self._living = LivingJobs(registry)
        self._ended = Counter(
            "loramill_jobs_ended", "Jobs whose outcome this service recorded.", ["state", "reason"], registry=registry
        )
        self._launches = Counter(
            "loramill_launches", "Launches that this service recorded.", ["kind"], registry=registry
        )
        self._moved = Counter(
            "loramill_launches_moved",
            "Launches on another compute class than the one before, by the class that was left and why.",
            ["compute_class", "reason"],
            registry=registry,
        )
        self._wait = Histogram(
            "loramill_queue_wait_seconds",
            "Time between a job's creation and its first launch.",
            ["compute_class"],
            buckets=_LONG,
            registry=registry,
        )
        self._launch = Histogram(
            "loramill_launch_seconds",
            "Time between the record of a launch and the start of its container.",
            ["compute_class"],
            buckets=_LONG,
            registry=registry,
        )
        self._gpu_seconds = Counter(
            "loramill_gpu_seconds",
            "GPU time used by launches of jobs that have ended.",
            ["tenant", "compute_class"],
            registry=registry,
        )
        self._seconds = Histogram(
            "loramill_reconcile_seconds", "Duration of one turn of a job.", buckets=SECONDS, registry=registry
        )
        self._failed = Counter("loramill_reconcile_failures", "Turns that ended in an error.", registry=registry)
        self._under_way = Gauge("loramill_queue_under_way", "Jobs that hold a place.", registry=registry)
        self._held_back = Gauge(
            "loramill_queue_held_back", "Waiting jobs that an operator does not let begin.", registry=registry
        )
        self._places = Gauge("loramill_queue_places", "Jobs that may hold a place at once.", registry=registry)
        for kind in ("first", "repeated"):
            self._launches.labels(kind)
        for name in compute_classes:
            self._wait.labels(name)
            self._launch.labels(name)
        self._ended_with(v1.TRAINING_JOB_STATE_SUCCEEDED, v1.STATE_REASON_COMPLETED)
        self._ended_with(v1.TRAINING_JOB_STATE_CANCELLED, v1.STATE_REASON_CANCELLED_BY_USER)
        for reason in REASONS:
            self._ended_with(v1.TRAINING_JOB_STATE_FAILED, reason)

    def looked_at(self, tenant: str, job: str, facts: JobFacts | None) -> None:
        self._living.looked_at(tenant, job, facts)

    def launched(self, facts: JobFacts, assignment: v1.Assignment) -> None:
        self._launches.labels("first" if assignment.launch == 1 else "repeated").inc()
        if assignment.launch == 1:
            waited = _seconds(facts.create.create_time, assignment.create_time)
            self._wait.labels(assignment.compute_class or class_of(facts)).observe(waited)

        newest = facts.newest
        if newest is not None and newest.assignment.compute_class != assignment.compute_class:
            reason = "NO_CAPACITY" if gave_no_machine(facts) else "HELD_BACK"
            self._moved.labels(newest.assignment.compute_class or LOCAL, reason).inc()

    def started(self, assignment: v1.Assignment, start: v1.LaunchStart) -> None:
        took = _seconds(assignment.create_time, start.started_time)
        self._launch.labels(assignment.compute_class or LOCAL).observe(took)

    def ended(self, facts: JobFacts, outcome: v1.Outcome) -> None:
        self._ended_with(outcome.state, outcome.reason).inc()
        for compute_class, seconds in gpu_seconds(facts, to_datetime(outcome.create_time)).items():
            self._gpu_seconds.labels(facts.tenant, compute_class).inc(seconds)

    def _ended_with(self, state: v1.TrainingJobState.ValueType, reason: v1.StateReason.ValueType) -> Counter:
        return self._ended.labels(
            v1.TrainingJobState.Name(state).removeprefix("TRAINING_JOB_STATE_"),
            v1.StateReason.Name(reason).removeprefix("STATE_REASON_"),
        )

    def reconciled(self, seconds: float, failed: bool) -> None:
        self._seconds.observe(seconds)
        if failed:
            self._failed.inc()

    def places(self, under_way: int, held_back: int, limit: int) -> None:
        self._under_way.set(under_way)
        self._held_back.set(held_back)
        self._places.set(limit)


def _seconds(begin: Timestamp, end: Timestamp) -> float:
    """Two clocks may have told them."""
    return max(0.0, (to_datetime(end) - to_datetime(begin)).total_seconds())
