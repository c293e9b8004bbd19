"""The trainers' namespace as it stands, in memory: Jobs, pods, Secrets (their metadata alone) and events about them."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.executors.cluster_objects import KeptJob, KeptPod, is_terminal, metadata_of, time_of
from service.executors.mirror import Mirror
from service.executors.pending import TELLING_EVENTS
from service.executors.pod_ends import has_ended
from service.executors.sightings import Sighting
from service.kubernetes_api import EVENTS, JOBS, PODS, SECRETS
from service.kubernetes_errors import NotFound, Unavailable
from service.kubernetes_names import SELECTOR, LaunchId, launch_of_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from service.kubernetes_api import KubernetesApi, Object

_SILENCE_S = 30.0
"""Seconds without a word of the API server after which what is known is no longer told."""
_FIRST_LIST_S = 15.0
"""Seconds that a service waits for at its start to learn what runs."""
_REMEMBERED = 10_000


class ClusterCache:
    """What is known of each launch's objects. A miss proves nothing: then the API server is asked."""

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._jobs = Mirror(api, JOBS, namespace, launch_of, SELECTOR, kept=KeptJob)
        self._pods = Mirror(api, PODS, namespace, launch_of, SELECTOR, kept=KeptPod)
        self._secrets = Mirror(api, SECRETS, namespace, launch_of, SELECTOR, metadata_only=True)
        self._events = Mirror(api, EVENTS, namespace, _uid_of_event)
        self._without_pod: set[str] = set()
        """UIDs of ended Jobs that have no pod any more, as the API server has said."""
        self._lock = threading.Lock()

    @contextmanager
    def following(self, changed: Callable[[str, str], None]) -> Iterator[None]:
        """While it is entered, what happens is taken up, and `changed` hears of every (tenant, job) concerned, in any thread."""

        def tell(launch: LaunchId) -> None:
            changed(launch.tenant, launch.job)

        mirrors = (self._jobs, self._pods, self._secrets, self._events)
        self._events.start()
        self._secrets.start()
        for told in (self._jobs, self._pods):
            told.start(tell)
        try:
            for mirror in mirrors:
                mirror.wait_until_synced(_FIRST_LIST_S)
            yield
        finally:
            for mirror in mirrors:
                mirror.stop()

    def sighting(self, launch: LaunchId) -> Sighting:
        """All there is of a launch. Raises KubernetesError where nobody can say."""
        silence = max(self._jobs.silent_for(), self._pods.silent_for())
        if silence > _SILENCE_S:
            raise Unavailable(f"the objects of {launch.name}", "the API server has not been heard of for a while")
        job, pods = next(iter(self._jobs.of(launch)), None), self._pods.of(launch)
        if self._must_ask(launch, job, pods):
            job, pods = self._asked(launch)
        uids = [metadata_of(found).get("uid", "") for found in (*pods, *([job] if job else []))]
        return Sighting(job, pods, [event for uid in uids for event in self._events.of(uid)])

    def job(self, launch: LaunchId) -> Object | None:
        """As it is known; a miss proves nothing."""
        return next(iter(self._jobs.of(launch)), None)

    def living(self) -> list[tuple[LaunchId, Object]]:
        """Launches whose Jobs are known and have not ended, with the Jobs."""
        return [
            (launch, job)
            for launch in self._jobs.groups()
            for job in self._jobs.of(launch)
            if not has_ended(job) and not metadata_of(job).get("deletionTimestamp")
        ]

    def begun(self) -> list[tuple[LaunchId, datetime]]:
        """Launches whose Jobs are known, ended or not, and when those were made."""
        made = [
            (launch, time_of(metadata_of(job).get("creationTimestamp")))
            for launch in self._jobs.groups()
            for job in self._jobs.of(launch)
        ]
        return [(launch, time) for launch, time in made if time is not None]

    def secret(self, launch: LaunchId) -> Object | None:
        """Its metadata, as they are known; a miss proves nothing."""
        return next(iter(self._secrets.of(launch)), None)

    def write_job(self, job: Object) -> None:
        """What the API server has answered."""
        self._jobs.write(job)

    def _must_ask(self, launch: LaunchId, job: Object | None, pods: list[Object]) -> bool:
        if job is None:
            return not self._has_later(launch)
        if not has_ended(job) or any(is_terminal(pod) for pod in pods):
            return False
        with self._lock:  # its pod's last word is looked for once
            return metadata_of(job)["uid"] not in self._without_pod

    def _has_later(self, launch: LaunchId) -> bool:
        """Whether the job has been launched again: nothing depends on this launch's absence any more."""
        return any(
            (other.tenant, other.job) == (launch.tenant, launch.job) and other.number > launch.number
            for other in self._jobs.groups()
        )

    def _asked(self, launch: LaunchId) -> tuple[Object | None, list[Object]]:
        job: Object | None
        try:
            job = self._api.get(JOBS, self._namespace, launch.name)
            self._jobs.write(job)
        except NotFound:
            job = None
        selector = ",".join(f"{key}={value}" for key, value in launch.labels.items())
        pods = self._api.list(PODS, self._namespace, selector).items
        for pod in pods:
            self._pods.write(pod)
        if job is not None and has_ended(job) and not pods:
            with self._lock:
                if len(self._without_pod) >= _REMEMBERED:
                    self._without_pod.clear()
                self._without_pod.add(metadata_of(job)["uid"])
        return job, pods


def launch_of(found: Object) -> LaunchId | None:
    return launch_of_labels(metadata_of(found).get("labels") or {})


def _uid_of_event(event: Object) -> str | None:
    return event.get("involvedObject", {}).get("uid") if event.get("reason") in TELLING_EVENTS else None
