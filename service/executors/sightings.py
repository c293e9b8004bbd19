"""What the cluster shows of a launch → its execution. Pure.

Nothing is ever taken for dead without its Job being looked at: a Job without a pod is yet to get one, a pod without a Job
still works, and what is suspended begins when it is let.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from service.executors import ABSENT, Execution, ExecutionState
from service.executors.cluster_objects import (
    Object,
    condition,
    container_state,
    is_terminal,
    metadata_of,
    time_of,
)
from service.executors.pending import (
    NOTHING_SPECIAL,
    Pending,
    is_queued,
    is_suspended,
    why_no_pod,
    why_not_running,
    why_suspended,
)
from service.executors.pod_ends import end_by_job, end_by_loss, end_by_pod, has_ended

LOST_AFTER = timedelta(seconds=10)
"""How long after the end of its grace time a pod on a node that does not answer is given up."""


@dataclass(frozen=True)
class Sighting:
    """All that the cluster has of one launch."""

    job: Object | None = None
    pods: Sequence[Object] = ()
    events: Sequence[Object] = ()
    """About the Job and the pods."""
    node_lost: bool = False
    """Whether the node of the pod that is overdue is gone or does not answer; asked only where `is_overdue`."""

    @property
    def living_pod(self) -> Object | None:
        return _newest([pod for pod in self.pods if not is_terminal(pod)])


def is_overdue(sighting: Sighting, now: datetime) -> bool:
    """Whether its pod should be gone by now: then its node may be lost."""
    pod = sighting.living_pod
    deleted = time_of(metadata_of(pod).get("deletionTimestamp")) if pod is not None else None
    return deleted is not None and now - deleted > LOST_AFTER  # the timestamp lies at the end of the grace time


def execution_of(sighting: Sighting, now: datetime) -> Execution:
    job, living = sighting.job, sighting.living_pod
    pod = living or _newest(sighting.pods)
    if job is None and (pod is None or _was_deleted_before_it_ran(pod)):
        return ABSENT
    if living is not None and sighting.node_lost and is_overdue(sighting, now):
        return _placed(end_by_loss(living, now), living)
    if job is not None and _is_held(job):
        return replace(_pending(why_suspended(job)), suspended=not is_queued(job))
    if living is not None:
        return _placed(_of_living(living, sighting.events, now), living)
    if pod is not None and (job is None or has_ended(job) or not metadata_of(pod).get("deletionTimestamp")):
        return _placed(end_by_pod(pod, job), pod)
    if job is not None and has_ended(job):
        return end_by_job(job)
    # Its pod is yet to come. One that was deleted and has ended is not the end: its Job has yet to say what follows.
    return _pending(NOTHING_SPECIAL if pod is not None else why_no_pod(sighting.events))


def _is_held(job: Object) -> bool:
    """Whether it is suspended and may still come to something.

    A running trainer that is suspended saves a checkpoint and exits with a code of its own, and by that its Job has failed.
    Until somebody lets it go on, that is all the same a job which is held back by hand.
    """
    if not is_suspended(job) or condition(job, "Complete") is not None:
        return False
    return not (is_queued(job) and has_ended(job))


def _was_deleted_before_it_ran(pod: Object) -> bool:
    """Whether nothing came of it: the kubelet writes that such a container was killed (137), as if it had begun."""
    ended = container_state(pod, "terminated")
    return ended is not None and "deletionTimestamp" in metadata_of(pod) and _started(ended) is None


def _started(state: Object) -> datetime | None:
    """None where it never ran; of such a container the kubelet may write 1970."""
    started = time_of(state.get("startedAt"))
    return started if started is not None and started.timestamp() > 0 else None


def _of_living(pod: Object, events: Sequence[Object], now: datetime) -> Execution:
    if container_state(pod, "running") is not None or container_state(pod, "terminated") is not None:
        return Execution(ExecutionState.RUNNING)
    return _pending(why_not_running(pod, events, now))


def _pending(pending: Pending) -> Execution:
    return Execution(ExecutionState.PENDING, message=pending.message, reason=pending.reason)


def _placed(execution: Execution, pod: Object) -> Execution:
    """With what the pod tells of its place and beginning."""
    scheduled = condition(pod, "PodScheduled") or {}
    state = container_state(pod, "running") or container_state(pod, "terminated") or {}
    return replace(
        execution,
        scheduled_time=time_of(scheduled.get("lastTransitionTime")),
        started_time=_started(state),
        node=pod["spec"].get("nodeName") or "",
    )


def _newest(pods: Sequence[Object]) -> Object | None:
    return max(
        pods, key=lambda pod: (metadata_of(pod).get("creationTimestamp") or "", metadata_of(pod)["name"]), default=None
    )
