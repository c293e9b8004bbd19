"""Imports of base models as Kubernetes Jobs, each named after its import, so that none is ever made twice.

What an import does and how it ended is in the record; the cluster is asked only why it has not begun, or has left no word.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from loramill import v1
from service.executors import ExecutorError
from service.executors.cluster_objects import condition, metadata_of, sentence, status_of
from service.import_manifest import ImportId, render_import_job
from service.importing.launching import Seen
from service.kubernetes_api import JOBS, PODS
from service.kubernetes_errors import AlreadyExists, KubernetesError, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.executors.cluster_objects import Object
    from service.import_job_settings import ImportJobSettings
    from service.kubernetes_api import KubernetesApi
    from service.pod_settings import PodSettings


class ImportJobs:
    """See ImportLauncher."""

    def __init__(self, api: KubernetesApi, store_uri: str, settings: ImportJobSettings, pod: PodSettings) -> None:
        self._api = api
        self._store_uri = store_uri
        self._settings = settings
        self._pod = pod

    def start(self, base: str, number: int, request: v1.ImportBaseModelRequest) -> None:
        del request  # it is in the store
        job = render_import_job(ImportId(base, number), self._store_uri, self._settings, self._pod)
        try:
            with suppress(AlreadyExists):
                self._api.create(JOBS, self._pod.namespace, job)
        except KubernetesError as error:
            raise ExecutorError(f"Import {number} of {base} could not be begun: {error}") from error

    def observe(self, base: str, number: int, request: v1.ImportBaseModelRequest) -> Seen:
        del request
        found = ImportId(base, number)
        try:
            job = self._api.get(JOBS, self._pod.namespace, found.name)
            failure = condition(job, "Failed")
            if failure is not None or condition(job, "Complete") is not None:
                return Seen(alive=False, message=_why_ended(failure or {}, self._pods(found)))
            return Seen(alive=True, message=_why_waiting(self._pods(found)))
        except NotFound:  # not made yet, or gone: how long it has been silent tells
            return Seen(alive=None)
        except KubernetesError as error:
            raise ExecutorError(f"Import {number} of {base}: {error}") from error

    def _pods(self, found: ImportId) -> Sequence[Object]:
        selector = ",".join(f"{name}={value}" for name, value in found.labels.items())
        return self._api.list(PODS, self._pod.namespace, selector).items


def _why_waiting(pods: Sequence[Object]) -> str:
    """Why no pod of it works yet; empty if one does."""
    if not pods:
        return "Its pod is being made."
    pod = max(pods, key=lambda each: metadata_of(each).get("creationTimestamp") or "")
    for container in status_of(pod).get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting")
        if waiting is not None:
            reason = waiting.get("reason", "ContainerCreating")
            words = waiting.get("message") or "the container is being made"
            return sentence(f"Its pod waits ({reason}): {words}")
        return ""
    for each in status_of(pod).get("conditions") or ():
        if each.get("type") == "PodScheduled" and each.get("status") == "False":
            return sentence(f"No node of the cluster fits: {each.get('message') or each.get('reason')}")
    return "Its pod waits for a node."


def _why_ended(failure: Object, pods: Sequence[Object]) -> str:
    """Of a Job whose import has left no word."""
    if failure.get("reason") == "DeadlineExceeded":
        return "The import took longer than the operator allows."
    for pod in pods:
        for container in status_of(pod).get("containerStatuses") or ():
            ended = (container.get("state") or {}).get("terminated")
            if ended is not None:
                return (
                    f"The import's pod ended without a word ({ended.get('reason')}, exit code {ended.get('exitCode')})."
                )
    return "The import's pod was taken away."
