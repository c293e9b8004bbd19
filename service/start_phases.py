"""Facts of a launch → what the time until its first optimizer step went to. Pure.

Each span ends where the next one begins, so that they add up to the whole. Their ends were written down by three clocks
(service, cluster, trainer), the cluster's in whole seconds: an end that lies before the one before it counts as equal to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loramill import v1
from service.times import to_datetime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    from service.facts import JobFacts, LaunchFacts


def start_phases(facts: JobFacts, launch: LaunchFacts) -> list[v1.StartPhaseTime]:
    """The phases that are over and known, in order.

    Where one between two others is not known, the one behind it has its time too. In local mode no pod is scheduled and no
    container made, so these two are missing, and the process counts from the record of the launch.
    """
    began = _asked_for(facts, launch)
    spans: list[v1.StartPhaseTime] = []
    for phase, end in _ends(launch):
        if end is None:
            continue
        if began is not None:
            span = v1.StartPhaseTime(phase=phase)
            span.duration.FromTimedelta(max(end, began) - began)
            spans.append(span)
        began = end if began is None else max(end, began)
    return spans


def _asked_for(facts: JobFacts, launch: LaunchFacts) -> datetime | None:
    """When there was reason for this launch: the job was accepted, or the launch before it ended; None where nobody saw that."""
    if launch.number == 1:
        return to_datetime(facts.create.create_time)
    before = facts.launches[launch.number - 2]
    if before.end is not None:
        return to_datetime(before.end.create_time)
    if before.seen_end is not None:
        return to_datetime(before.seen_end.create_time)
    return before.execution.end_time if before.execution is not None else None


def _ends(launch: LaunchFacts) -> Iterator[tuple[v1.StartPhase.ValueType, datetime | None]]:
    """When each phase was over; None while it is not, or where that is not known."""
    yield v1.START_PHASE_QUEUED, to_datetime(launch.assignment.create_time)
    yield v1.START_PHASE_SCHEDULING, _scheduled(launch)
    yield v1.START_PHASE_CONTAINER, _started(launch)
    status = launch.status or v1.RunStatus()
    yield v1.START_PHASE_PROCESS, _beginning(status, v1.PHASE_CHECKING_DATA)
    yield v1.START_PHASE_DATA, _beginning(status, v1.PHASE_LOADING_MODEL)
    yield v1.START_PHASE_MODEL, _beginning(status, v1.PHASE_ENCODING)
    yield v1.START_PHASE_ENCODING, _beginning(status, v1.PHASE_PREVIEWING, v1.PHASE_TRAINING)
    yield v1.START_PHASE_FIRST_STEP, _time(status.first_step_time)


def _scheduled(launch: LaunchFacts) -> datetime | None:
    if launch.start is not None:
        return _time(launch.start.scheduled_time)
    return launch.execution.scheduled_time if launch.execution is not None else None


def _started(launch: LaunchFacts) -> datetime | None:
    if launch.start is not None:
        return _time(launch.start.started_time)
    return launch.execution.started_time if launch.execution is not None else None


def _beginning(status: v1.RunStatus, *phases: v1.Phase.ValueType) -> datetime | None:
    """When the first of these phases began."""
    return min((to_datetime(start.time) for start in status.phase_starts if start.phase in phases), default=None)


def _time(stamp: Timestamp) -> datetime | None:
    """None for one that was never set, which is empty."""
    return to_datetime(stamp) if stamp.ByteSize() else None
