"""Trainers as Kubernetes Jobs: one Job with one pod for each launch, named after it, so that none is ever made twice.

Nothing of it is kept here but what the cluster shows; any replica of the service can do any of it at any time. The Job
comes first and its Secret, which it owns, at once after it: a service that dies in between leaves nothing that nobody
owns, and the next look of any replica makes the Secret up for it.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from loramill import v1
from service.executors import Execution, ExecutionState, ExecutorError, KnownLaunch
from service.executors.cluster_cache import launch_of
from service.executors.cluster_objects import condition, metadata_of, sentence
from service.executors.pending import Pending, why_refused
from service.executors.sightings import Sighting, execution_of, is_overdue
from service.kubernetes_api import JOBS, NODES, PODS
from service.kubernetes_errors import AlreadyExists, Conflict, Forbidden, KubernetesError, NotFound, Refused
from service.kubernetes_names import ASSIGNMENT_ANNOTATION, CONTAINER, LaunchId
from service.manifests import TrainerLaunch, render_job
from service.times import utc_now
from store.object_store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from service.compute_classes import ComputeClass, ComputeClasses
    from service.executors.cluster_cache import ClusterCache
    from service.executors.credential_keeper import CredentialKeeper
    from service.kubernetes_api import KubernetesApi, Object
    from service.pod_settings import PodSettings

_LOG_PIECE = 1 << 20
_REMEMBERED = 1000
_NOT_MADE_YET = Pending(v1.STATE_REASON_STARTING, "Its Kubernetes Job is being made.")


class KubernetesExecutor:
    """See Executor. `following` must be entered before anything is observed."""

    def __init__(
        self,
        api: KubernetesApi,
        cache: ClusterCache,
        keeper: CredentialKeeper,
        pod: PodSettings,
        classes: ComputeClasses,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._api = api
        self._cache = cache
        self._keeper = keeper
        self._pod = pod
        self._classes = classes
        self._clock = clock
        self._refusals: dict[LaunchId, Pending] = {}
        """Why launches could not be begun when that was last tried."""

    @contextmanager
    def following(self, changed: Callable[[str, str], None]) -> Iterator[None]:
        """While it is entered, the cluster is watched, `changed` hears of every (tenant, job) in any thread, and credentials
        are renewed."""
        stopped = threading.Event()
        renewing = threading.Thread(target=self._keeper.run, args=(stopped,), name="credentials", daemon=True)
        with self._cache.following(changed):
            renewing.start()
            try:
                yield
            finally:
                stopped.set()
                renewing.join()

    def launch(self, tenant: str, job: str, number: int, assignment: v1.Assignment, assignment_uri: str) -> None:
        launch = LaunchId(tenant, job, number)
        try:
            compute_class = self._class_of(assignment)
            # Before the Job: its pod then finds the Secret when it gets there.
            credentials = self._keeper.issue(launch, assignment)
            made = self._make_job(TrainerLaunch(launch, assignment, assignment_uri), compute_class)
            self._keeper.put(launch, credentials, made)
        except (ExecutorError, KubernetesError, StoreError, ValueError) as error:
            self._remember(launch, _why(error))
            raise ExecutorError(f"Launch {number} of {job} could not be begun: {error}") from error
        self._refusals.pop(launch, None)

    def observe(self, tenant: str, job: str, number: int) -> Execution:
        launch, now = LaunchId(tenant, job, number), self._clock()
        with _reported(launch):
            sighting = self._cache.sighting(launch)
            if is_overdue(sighting, now):
                sighting = replace(sighting, node_lost=self._is_node_lost(sighting))
        execution = execution_of(sighting, now)
        if execution.state is ExecutionState.ABSENT:
            why = self._refusals.get(launch, _NOT_MADE_YET)
            return replace(execution, reason=why.reason, message=why.message)
        return execution

    def known(self) -> list[KnownLaunch]:
        return [KnownLaunch(launch.tenant, launch.job, launch.number, begun) for launch, begun in self._cache.begun()]

    def stop(self, tenant: str, job: str, number: int) -> None:
        launch = LaunchId(tenant, job, number)
        with _reported(launch):
            sighting = self._cache.sighting(launch)
            if not execution_of(sighting, self._clock()).alive:
                return
            if sighting.job is not None:  # its pods go first, then the Job
                self._delete_job(sighting.job)
            else:
                self._delete_pods(sighting.pods)

    def forget(self, tenant: str, job: str, number: int) -> None:
        if self.observe(tenant, job, number).alive:
            raise ExecutorError(f"Launch {number} of {job} still works; stop it before it is forgotten.")
        launch = LaunchId(tenant, job, number)
        with _reported(launch):
            sighting = self._cache.sighting(launch)
            if sighting.job is not None:  # pods and Secret go with it
                self._delete_job(sighting.job)
            else:
                self._delete_pods(sighting.pods)
        self._refusals.pop(launch, None)

    def read_log(self, tenant: str, job: str, number: int, offset: int) -> bytes | None:
        """Live from the pod. None where it cannot be had, now or any more: what the run has stored is as good."""
        launch = LaunchId(tenant, job, number)
        try:
            pods = self._cache.sighting(launch).pods
            if not pods:
                return None
            newest = max(pods, key=lambda pod: metadata_of(pod).get("creationTimestamp", ""))
            name = metadata_of(newest)["name"]
            return self._api.read_log(self._pod.namespace, name, CONTAINER, offset, _LOG_PIECE)
        except Refused:  # its container has not begun
            return b""
        except KubernetesError:
            return None

    # -- Jobs and pods -------------------------------------------------------------------------------------------------

    def _class_of(self, assignment: v1.Assignment) -> ComputeClass:
        found = self._classes.find(assignment.compute_class)
        if found is None:
            raise ExecutorError(
                f"the compute class {assignment.compute_class!r} is not configured any more; "
                f"configure it again, or cancel the job and create it with one of {', '.join(self._classes.names)}"
            )
        return found

    def _make_job(self, launch: TrainerLaunch, compute_class: ComputeClass) -> Object:
        """The Job of the launch, whoever has made it. Raises ExecutorError if another Job has its name."""
        wanted = render_job(launch, compute_class, self._pod)
        try:
            job = self._api.create(JOBS, self._pod.namespace, wanted)
        except AlreadyExists:
            job = self._api.get(JOBS, self._pod.namespace, launch.launch.name)
            if not _is_same(job, wanted, launch.launch):
                raise ExecutorError(
                    f"a Job {launch.launch.name} is there in namespace {self._pod.namespace} that was not made for this "
                    "launch; delete it"
                ) from None
        self._cache.write_job(job)
        return job

    def _delete_job(self, job: Object) -> None:
        metadata = metadata_of(job)
        if metadata.get("deletionTimestamp"):
            return
        try:
            deleted = self._api.delete(JOBS, self._pod.namespace, metadata["name"], metadata["uid"], foreground=True)
        except (NotFound, Conflict):  # it is gone, and what has its name now is another
            return
        if deleted.get("kind") == "Job":
            self._cache.write_job(deleted)

    def _delete_pods(self, pods: Iterable[Object]) -> None:
        """Of no Job; those of a Job go with it."""
        for pod in pods:
            metadata = metadata_of(pod)
            if metadata.get("deletionTimestamp"):
                continue
            with suppress(NotFound, Conflict):
                self._api.delete(PODS, self._pod.namespace, metadata["name"], metadata["uid"])

    def _is_node_lost(self, sighting: Sighting) -> bool:
        """Whether the node of its living pod is gone or does not answer. False where we may not ask."""
        name = (sighting.living_pod or {}).get("spec", {}).get("nodeName")
        try:
            return bool(name and condition(self._api.get(NODES, "", name), "Ready") is None)
        except NotFound:
            return True
        except Forbidden:
            return False

    def _remember(self, launch: LaunchId, why: Pending) -> None:
        if len(self._refusals) >= _REMEMBERED:
            self._refusals.clear()
        self._refusals[launch] = why


def _is_same(job: Object, wanted: Object, launch: LaunchId) -> bool:
    """Whether a Job was made for this launch, by the same assignment."""
    found, expected = metadata_of(job), metadata_of(wanted)
    digest = (found.get("annotations") or {}).get(ASSIGNMENT_ANNOTATION)
    return launch_of(job) == launch and digest == expected["annotations"][ASSIGNMENT_ANNOTATION]


def _why(error: Exception) -> Pending:
    """What callers hear of a launch that could not be begun."""
    if isinstance(error, Forbidden | Refused):
        return why_refused(error.message)
    return Pending(v1.STATE_REASON_STARTING, sentence(f"The launch could not be begun and is tried again: {error}"))


@contextmanager
def _reported(launch: LaunchId) -> Iterator[None]:
    try:
        yield
    except KubernetesError as error:
        raise ExecutorError(f"Launch {launch.number} of {launch.job}: {error}") from error
