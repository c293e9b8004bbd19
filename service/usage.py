"""Facts of a job → the GPU time that its launches have used, by compute class. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from service.compute_classes import LOCAL
from service.launch_choice import plan_of
from service.times import to_datetime

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from loramill import v1
    from service.facts import JobFacts, LaunchFacts


def class_of(facts: JobFacts) -> str:
    """The compute class of the newest launch, or the one that the job was accepted for."""
    newest = facts.newest
    chosen = newest.assignment.compute_class if newest is not None else ""
    return chosen or facts.create.compute.compute_class or LOCAL


def gpu_seconds(facts: JobFacts, until: datetime) -> Mapping[str, float]:
    """GPUs times the seconds between a container's start and its end, or `until` where nobody saw that end.

    Launches whose container never ran used nothing; in local mode, and for classes without GPUs, all is nothing.
    """
    used: Counter[str] = Counter()
    for launch in facts.launches:
        began, gpus = _began(launch), plan_of(facts.create, launch.assignment.compute_class).gpus
        if began is not None and gpus:
            seconds = max(0.0, (_ended(launch, until) - began).total_seconds())
            used[launch.assignment.compute_class or LOCAL] += gpus * seconds  # type: ignore[assignment]  # Counter takes floats
    return used


def _began(launch: LaunchFacts) -> datetime | None:
    if launch.start is not None:
        return to_datetime(launch.start.started_time)
    if launch.execution is not None and launch.execution.started_time is not None:
        return launch.execution.started_time
    return to_datetime(launch.claim.create_time) if launch.claim is not None else None


def _ended(launch: LaunchFacts, until: datetime) -> datetime:
    last: v1.End | v1.LaunchEnd | None = launch.end or launch.seen_end
    return to_datetime(last.create_time) if last is not None else until
