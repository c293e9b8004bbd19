"""What ended the pod of a launch: from the pod while its object is there, else from the Job, which remembers it. Pure.

What the trainer says by an exit code of its own goes before what happened around it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from loramill import v1
from service.executors import Execution, ExecutionState
from service.executors.cluster_objects import condition, container_state, metadata_of, sentence, status_of, time_of

if TYPE_CHECKING:
    from datetime import datetime

    from service.executors.cluster_objects import Object

_Why = tuple["v1.StateReason.ValueType", str]

_OWN_WORDS = frozenset(v1.ExitCode.values()) - {v1.EXIT_CODE_SUCCESS, v1.EXIT_CODE_BUG}
"""Exit codes that only our trainer gives itself."""

_DISRUPTIONS: dict[str, _Why] = {
    "PreemptionByScheduler": (v1.STATE_REASON_PREEMPTED, "A pod of a higher priority took its place."),
    "EvictionByEvictionAPI": (v1.STATE_REASON_PREEMPTED, "It was evicted: its node was being drained or taken away."),
    "DeletionByTaintManager": (
        v1.STATE_REASON_NODE_LOST,
        "Its node no longer answered, or was closed to it by a taint.",
    ),
    "DeletionByPodGC": (v1.STATE_REASON_NODE_LOST, "Its node went away under it."),
}
_DISRUPTED: _Why = (v1.STATE_REASON_PREEMPTED, "The cluster took its pod away (DisruptionTarget).")
_CANNOT_START = frozenset({"ContainerCannotRun", "StartError", "CreateContainerError"})

_EXIT_CODE_RULE = re.compile(r"Container \S+ for pod \S+ failed with exit code (\d+) matching")
_CONDITION_RULE = re.compile(r"Pod \S+ has condition DisruptionTarget matching")
"""As the Job controller writes them into the condition when a rule of the podFailurePolicy matches (KEP-3329)."""


def end_by_pod(pod: Object, job: Object | None) -> Execution:
    """Of a pod whose containers have all ended."""
    ended = container_state(pod, "terminated") or {}
    exit_code = ended.get("exitCode")
    disruption = condition(pod, "DisruptionTarget") or {}
    when = ended.get("finishedAt") or disruption.get("lastTransitionTime")
    execution = Execution(
        ExecutionState.EXITED,
        exit_code,
        end_time=time_of(when) or _end_of_job(job) or _last_change(pod),
    )
    was_told_to_stop = exit_code == v1.EXIT_CODE_PREEMPTED and status_of(pod).get("reason") == "Evicted"
    if (exit_code in _OWN_WORDS and not was_told_to_stop) or status_of(pod).get("phase") == "Succeeded":
        return replace(execution, message=sentence(ended.get("message", "").strip()))
    if job is not None and _failure(job).get("reason") == "DeadlineExceeded":
        return _by(execution, _past_deadline(job))
    return _by(execution, _why_pod_ended(pod, ended, disruption))


def end_by_job(job: Object) -> Execution:
    """Of a Job that has ended and whose pod's object is gone, or never was."""
    execution = Execution(ExecutionState.EXITED, end_time=_end_of_job(job))
    if condition(job, "Complete") is not None:
        return replace(execution, exit_code=v1.EXIT_CODE_SUCCESS)
    failure = _failure(job)
    words = failure.get("message", "")
    if failure.get("reason") == "DeadlineExceeded":
        return _by(execution, _past_deadline(job))
    by_code = _EXIT_CODE_RULE.search(words)
    if by_code is not None:
        return replace(execution, exit_code=int(by_code[1]))
    if _CONDITION_RULE.search(words):
        return _by(execution, _DISRUPTED)
    text = f"The pod is gone and nobody saw how it ended; its Kubernetes Job says: {sentence(words or 'nothing')}"
    return replace(execution, message=text)


def end_by_loss(pod: Object, now: datetime) -> Execution:
    """Of a pod that should long be gone, on a node that does not answer."""
    node = pod["spec"].get("nodeName", "")
    text = f"Its node {node} does not answer any more; the pod is given up."
    since = time_of(metadata_of(pod).get("deletionTimestamp")) or now
    return Execution(ExecutionState.EXITED, None, text, since, v1.STATE_REASON_NODE_LOST)


def has_ended(job: Object) -> bool:
    return condition(job, "Complete") is not None or condition(job, "Failed") is not None


def _why_pod_ended(pod: Object, ended: Object, disruption: Object) -> _Why:
    status = status_of(pod)
    if ended.get("reason") == "OOMKilled":
        limit = (pod["spec"]["containers"][0].get("resources", {}).get("limits") or {}).get("memory", "its memory")
        return v1.STATE_REASON_OUT_OF_MEMORY, (
            f"The kernel killed the trainer because it used more host memory than its limit of {limit}; "
            "choose a compute class with more memory, or a smaller batch size or resolution."
        )
    if status.get("reason") == "Evicted":
        words = sentence(status.get("message", "").strip() or "the kubelet does not say why")
        return v1.STATE_REASON_EVICTED, f"The node drove the pod out: {words}"
    if disruption:
        kind = disruption.get("reason", "")
        return _DISRUPTIONS.get(kind) or (_DISRUPTED[0], sentence(disruption.get("message", "")) or _DISRUPTED[1])
    if ended.get("reason") in _CANNOT_START:
        words = sentence(ended.get("message", ""))
        return v1.STATE_REASON_UNSPECIFIED, f"The container could not be started ({ended['reason']}): {words}"
    if not ended:
        words = sentence(status.get("message") or status.get("reason") or "nothing")
        return v1.STATE_REASON_UNSPECIFIED, f"The pod ended before its container ran; the cluster says: {words}"
    return v1.STATE_REASON_UNSPECIFIED, ""


def _past_deadline(job: Object) -> _Why:
    seconds = job["spec"].get("activeDeadlineSeconds", 0)
    text = f"Its Kubernetes Job did not end within {seconds} seconds, waiting included; raise `deadline`, or free the cluster."
    return v1.STATE_REASON_DEADLINE_EXCEEDED, text


def _by(execution: Execution, why: _Why) -> Execution:
    return replace(execution, reason=why[0], message=why[1])


def _failure(job: Object) -> Object:
    """The condition that says why the Job failed; FailureTarget comes while its pods are still being ended."""
    return condition(job, "Failed") or condition(job, "FailureTarget") or {}


def _end_of_job(job: Object | None) -> datetime | None:
    if job is None:
        return None
    ended = condition(job, "Complete") or _failure(job)
    return time_of(ended.get("lastTransitionTime"))


def _last_change(pod: Object) -> datetime | None:
    changes = [each.get("lastTransitionTime") for each in status_of(pod).get("conditions") or ()]
    return max((time for change in changes if (time := time_of(change)) is not None), default=None)
