"""A launch → its Kubernetes objects, as plain dicts. Pure: the same launch, class and settings give the same objects.

Every field that can occur is written out here; nothing of a user's text and no pod fields of an operator's get in.
One Job with one pod and no second try: launching again is the reconciler's decision alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.kubernetes_names import (
    ASSIGNMENT_ANNOTATION,
    EXPIRE_ANNOTATION,
    KUEUE_PRIORITY_LABEL,
    KUEUE_QUEUE_LABEL,
    LaunchId,
)
from service.pod_failure_policy import POD_FAILURE_POLICY
from service.pod_manifest import METRICS_PORT, pod_spec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from loramill import v1
    from service.compute_classes import ComputeClass
    from service.pod_settings import PodSettings

Manifest = dict[str, Any]
"""One Kubernetes object, as JSON has it."""


@dataclass(frozen=True)
class TrainerLaunch:
    """What one Job is made for."""

    launch: LaunchId
    assignment: v1.Assignment
    assignment_uri: str
    """Where the trainer reads it."""


def assignment_sha256(launch: TrainerLaunch) -> str:
    """Tells whether a Job that exists already is this launch's.

    Only what every version of the service reads alike goes into it, so that replicas of two versions agree.
    """
    created = launch.assignment.create_time
    identity = f"{launch.assignment_uri}\n{created.seconds}.{created.nanos:09}\n"
    return hashlib.sha256(identity.encode()).hexdigest()


def render_job(launch: TrainerLaunch, compute_class: ComputeClass, pod: PodSettings) -> Manifest:
    """The Job of a launch (batch/v1), for a namespace that enforces the restricted Pod Security level.

    Its podFailurePolicy has FailJob rules only: the Job's condition then tells the cause when the pod is long gone. The
    deadline is generous: it counts waiting too (and anew after a suspension), while the trainer enforces the job's own.
    With a queue of Kueue's it begins suspended, and Kueue lets it go.
    """
    queue = compute_class.queue_name or pod.queue_name
    labels = launch.launch.labels
    deadline = _deadline_seconds(launch.assignment, pod)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": launch.launch.name,
            "namespace": pod.namespace,
            "labels": labels | _queue_labels(queue, pod.queue_priority_class),
            "annotations": {ASSIGNMENT_ANNOTATION: assignment_sha256(launch)},
        },
        "spec": {
            "suspend": queue is not None,
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": POD_FAILURE_POLICY,
            "activeDeadlineSeconds": deadline,
            "ttlSecondsAfterFinished": int(pod.finished_job_retention.total_seconds()),
            "template": {
                "metadata": {"labels": labels, "annotations": _pod_annotations(compute_class)},
                "spec": pod_spec(launch.launch.name, launch.assignment_uri, compute_class, pod),
            },
        },
    }


def render_credentials_secret(
    launch: LaunchId, pod: PodSettings, files: Mapping[str, str], expire_time: datetime | None, job_uid: str
) -> Manifest:
    """The Secret with a launch's storage credentials, a file for each key; it goes when the Job with that UID goes."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": launch.name,
            "namespace": pod.namespace,
            "labels": launch.labels,
            "annotations": {EXPIRE_ANNOTATION: expire_time.isoformat()} if expire_time is not None else {},
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": launch.name, "uid": job_uid}],
        },
        "type": "Opaque",
        "stringData": dict(files),
    }


def _deadline_seconds(assignment: v1.Assignment, pod: PodSettings) -> int:
    return assignment.spec.deadline.seconds + int(pod.pending_allowance.total_seconds())


def _queue_labels(queue: str | None, priority: str | None) -> dict[str, str]:
    """As Kueue's documentation has them under "Run A Kubernetes Job"."""
    if queue is None:
        return {}
    return {KUEUE_QUEUE_LABEL: queue} | ({KUEUE_PRIORITY_LABEL: priority} if priority is not None else {})


def _pod_annotations(compute_class: ComputeClass) -> dict[str, str]:
    """Tells Prometheus where to read; keeps autoscalers from taking a paid node away under a trainer, but only where nobody
    else may take it.

    On spot nodes karpenter.sh/do-not-disrupt would hold back the eviction that brings SIGTERM early. Its value is "true":
    Karpenter takes no notice of a duration before 1.12, and counts only pods that have not ended, so that the node is kept for
    as long as the trainer runs, at most for the Job's activeDeadlineSeconds.
    """
    scraped = {"prometheus.io/scrape": "true", "prometheus.io/port": str(METRICS_PORT)}
    if compute_class.spot:
        return scraped
    return scraped | {
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "true",
    }
