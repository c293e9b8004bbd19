"""Why the pod of a launch does not run yet, from its Job, its pod and what the cluster has said about them. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from loramill import v1
from service.executors.cluster_objects import container_state, event_time, metadata_of, sentence, status_of
from service.kubernetes_names import KUEUE_QUEUE_LABEL

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from service.executors.cluster_objects import Object

SCALE_UP_LIMIT = timedelta(minutes=15)
"""How long an autoscaler's promise of a node is believed: the time after which cluster-autoscaler gives a node up."""

_IMAGE_TROUBLES = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_SCALES_UP = frozenset({"TriggeredScaleUp", "Nominated"})
"""Reasons of events: cluster-autoscaler's, and Karpenter's."""
_POD_CREATION = frozenset({"FailedCreate", "SuccessfulCreate"})
_CONTAINER_CREATION = frozenset(
    {"FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "Pulling", "Pulled", "Created"}
)

TELLING_EVENTS = _SCALES_UP | {"NotTriggerScaleUp"} | _POD_CREATION | _CONTAINER_CREATION
"""Reasons of the events that are looked at here; no others need be kept."""


class Pending(NamedTuple):
    reason: v1.StateReason.ValueType
    message: str
    """One sentence; empty where there is nothing to say."""


NOTHING_SPECIAL = Pending(v1.STATE_REASON_UNSPECIFIED, "")


def is_suspended(job: Object | None) -> bool:
    return job is not None and bool(job["spec"].get("suspend"))


def is_queued(job: Object | None) -> bool:
    """Whether Kueue decides when it begins."""
    return job is not None and KUEUE_QUEUE_LABEL in (metadata_of(job).get("labels") or {})


def why_suspended(job: Object) -> Pending:
    name = metadata_of(job).get("name", "")
    if is_queued(job):
        queue = metadata_of(job)["labels"][KUEUE_QUEUE_LABEL]
        return Pending(v1.STATE_REASON_SUSPENDED, f"Waits in the cluster's queue {queue}, which lets it begin.")
    return Pending(
        v1.STATE_REASON_SUSPENDED,
        f"The Kubernetes Job {name} is suspended by hand; it goes on when its spec.suspend is set to false again.",
    )


def why_no_pod(events: Sequence[Object]) -> Pending:
    """Of a Job that has no pod and is not suspended."""
    newest = _newest(events, _POD_CREATION)
    if newest is None or newest["reason"] != "FailedCreate":
        return NOTHING_SPECIAL
    return why_refused(newest.get("message", ""))


def why_refused(message: str) -> Pending:
    """Of an object that the API server does not take; `message` are its words."""
    if "exceeded quota" in message:
        text = "A quota of the cluster's namespace does not admit the pod; it starts when others have ended, or the quota is"
        return Pending(v1.STATE_REASON_QUOTA, f"{text} raised: {sentence(message)}")
    return Pending(v1.STATE_REASON_STARTING, f"The cluster refuses the pod: {sentence(message)}")


def why_not_running(pod: Object, events: Sequence[Object], now: datetime) -> Pending:
    """Of a pod whose container has not begun."""
    waiting = container_state(pod, "waiting")
    if waiting is not None and waiting.get("reason") in _IMAGE_TROUBLES:
        return _image_trouble(pod, waiting)
    if pod["spec"].get("nodeName"):
        return _why_no_container(waiting or {}, events)
    return _why_unscheduled(pod, events, now)


def _image_trouble(pod: Object, waiting: Object) -> Pending:
    image = pod["spec"]["containers"][0]["image"]
    told = waiting.get("message") or waiting["reason"]
    words = sentence(told.rpartition("ErrImagePull: ")[2].replace(f'"{image}"', "it"))
    return Pending(v1.STATE_REASON_IMAGE_PULL, f"The image {image} cannot be had ({waiting['reason']}): {words}")


def _why_unscheduled(pod: Object, events: Sequence[Object], now: datetime) -> Pending:
    nominated = status_of(pod).get("nominatedNodeName")
    if nominated:
        return Pending(v1.STATE_REASON_WAITING_FOR_NODE, f"Room is being made on node {nominated}.")
    conditions = status_of(pod).get("conditions") or ()
    refused = next((c for c in conditions if c.get("type") == "PodScheduled" and c.get("status") == "False"), None)
    if refused is None:
        return NOTHING_SPECIAL
    scaling = _newest(events, _SCALES_UP | {"NotTriggerScaleUp"})
    if scaling is not None and scaling["reason"] in _SCALES_UP and now - event_time(scaling) < SCALE_UP_LIMIT:
        words = sentence(scaling.get("message", ""))
        return Pending(v1.STATE_REASON_WAITING_FOR_NODE, f"The autoscaler is bringing a node: {words}")
    words = sentence(refused.get("message") or refused.get("reason") or "the scheduler does not say why")
    return Pending(v1.STATE_REASON_UNSCHEDULABLE, f"No node of the cluster fits: {words}")


def _why_no_container(waiting: Object, events: Sequence[Object]) -> Pending:
    reason = waiting.get("reason", "ContainerCreating")
    if reason not in ("ContainerCreating", "PodInitializing"):
        words = sentence(waiting.get("message") or reason)
        return Pending(v1.STATE_REASON_STARTING, f"The container cannot be started ({reason}): {words}")
    newest = _newest(events, _CONTAINER_CREATION)
    if newest is None or newest["reason"] in ("Pulled", "Created"):
        return NOTHING_SPECIAL
    if newest["reason"] == "Pulling":
        return Pending(v1.STATE_REASON_STARTING, "The image is being pulled.")
    words = sentence(newest.get("message", ""))
    return Pending(v1.STATE_REASON_STARTING, f"The container cannot be made yet ({newest['reason']}): {words}")


def _newest(events: Sequence[Object], reasons: Collection[str]) -> Object | None:
    return max((event for event in events if event.get("reason") in reasons), key=event_time, default=None)
