"""What is read out of API objects: which fields of them, and what is read in more than one place.

Pure; absent fields are what they mean when they are absent.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict

from service.kubernetes_names import CONTAINER

if TYPE_CHECKING:
    from collections.abc import Iterable

Object = dict[str, Any]

_LONGEST_TEXT = 600
"""Characters of the cluster's own words that go into a sentence of ours."""


class _Metadata(TypedDict, total=False):
    """Not the bookkeeping of who wrote which field, of which there is more than of all the rest."""

    name: Any
    uid: Any
    resourceVersion: Any
    creationTimestamp: Any
    deletionTimestamp: Any
    labels: Any
    annotations: Any


class _JobSpec(TypedDict, total=False):
    suspend: Any
    activeDeadlineSeconds: Any


class KeptJob(TypedDict, total=False):
    """The fields of a Job that are read here. The others are not even parsed."""

    metadata: _Metadata
    spec: _JobSpec
    status: Any


class _Container(TypedDict, total=False):
    image: Any
    resources: Any


class _PodSpec(TypedDict, total=False):
    nodeName: Any
    containers: list[_Container]


class KeptPod(TypedDict, total=False):
    """The same of a pod."""

    metadata: _Metadata
    spec: _PodSpec
    status: Any


def metadata_of(found: Object) -> Object:
    metadata: Object = found.get("metadata") or {}
    return metadata


def status_of(found: Object) -> Object:
    status: Object = found.get("status") or {}
    return status


def condition(found: Object, kind: str) -> Object | None:
    """The condition of this type, if it is true."""
    conditions: Iterable[Object] = status_of(found).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind and each.get("status") == "True"), None)


def is_terminal(pod: Object) -> bool:
    """Whether none of its containers runs, or ever will again."""
    return status_of(pod).get("phase") in ("Succeeded", "Failed")


def container_state(pod: Object, state: str) -> Object | None:
    """`waiting`, `running` or `terminated` of the trainer's container; None if it is in another state."""
    for container in status_of(pod).get("containerStatuses") or ():
        if container.get("name") == CONTAINER:
            found: Object | None = (container.get("state") or {}).get(state)
            return found
    return None


def time_of(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def event_time(event: Object) -> datetime:
    """When it happened last."""
    series = event.get("series") or {}
    told = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return datetime.fromisoformat(told or metadata_of(event).get("creationTimestamp") or "1970-01-01T00:00:00Z")


def sentence(text: str) -> str:
    """The cluster's words on one line, with a full stop."""
    line = " ".join(text.split())
    line = line if len(line) <= _LONGEST_TEXT else line[:_LONGEST_TEXT] + "…"
    return line if not line or line.endswith((".", "…", "!")) else f"{line}."
