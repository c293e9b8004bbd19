"""The storage credentials of every launch that lives: there from its beginning, owned by its Job, and never out of date.

Level-triggered like the rest: whatever Job lives without a Secret gets one, whoever made the Job and died before. Any
number of replicas may do this at once.
"""

from __future__ import annotations

import random
import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from service.executors.cluster_objects import metadata_of, time_of
from service.kubernetes_api import SECRETS
from service.kubernetes_errors import AlreadyExists, KubernetesError
from service.kubernetes_names import EXPIRE_ANNOTATION
from service.manifests import render_credentials_secret
from service.times import utc_now
from service.trainer_credentials import is_refresh_due
from store.object_store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from loramill import v1
    from service.executors.cluster_cache import ClusterCache
    from service.kubernetes_api import KubernetesApi, Object
    from service.kubernetes_names import LaunchId
    from service.pod_settings import PodSettings
    from service.trainer_credentials import CredentialSource, TrainerCredentials

    AssignmentOf = Callable[[LaunchId], v1.Assignment | None]

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 10.0
"""Seconds between two looks at all living launches; a launch whose service died half-way waits no longer than this."""
_OTHERS_TIME = timedelta(seconds=5)
"""How old a Job must be before its Secret is missed: whoever made it is just about to make that too."""


class CredentialKeeper:
    """Thread-safe."""

    def __init__(
        self,
        api: KubernetesApi,
        cache: ClusterCache,
        source: CredentialSource,
        pod: PodSettings,
        assignment_of: AssignmentOf,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """`assignment_of` reads the record of a launch; None if there is none (any more)."""
        self._api = api
        self._cache = cache
        self._source = source
        self._pod = pod
        self._assignment_of = assignment_of
        self._clock = clock

    def issue(self, launch: LaunchId, assignment: v1.Assignment) -> TrainerCredentials | None:
        """Credentials for `put`; None where pods have their rights from elsewhere. Raises StoreUnavailable, ValueError."""
        if not self._pod.mount_credentials:
            return None
        return self._source.issue(launch.tenant, launch.job, launch.number, assignment)

    def put(self, launch: LaunchId, credentials: TrainerCredentials | None, job: Object) -> None:
        """Makes them the content of the launch's Secret, which the Job then owns. Raises KubernetesError."""
        if credentials is None:
            return
        files = {name: content.decode() for name, content in credentials.files.items()}
        uid = metadata_of(job)["uid"]
        secret = render_credentials_secret(launch, self._pod, files, credentials.expire_time, uid)
        try:
            self._api.create(SECRETS, self._pod.namespace, secret)
        except AlreadyExists:  # made by another replica, due for renewal, or left by a Job of this name that is gone
            self._api.patch(SECRETS, self._pod.namespace, launch.name, secret)

    def look(self) -> None:
        """Renews what is due. What fails is logged, and tried again at the next look."""
        for launch, job in self._cache.living():
            if not self._is_due(launch, job):
                continue
            try:
                assignment = self._assignment_of(launch)
                if assignment is not None:
                    self.put(launch, self.issue(launch, assignment), job)
                    log.info("a launch has new storage credentials", launch=launch.name)
            except (KubernetesError, StoreError, ValueError) as error:
                log.warning("a launch got no new storage credentials", launch=launch.name, problem=str(error))

    def run(self, stopped: threading.Event) -> None:
        while not stopped.wait(LOOK_EVERY_S * random.uniform(0.8, 1.2)):
            try:
                self.look()
            except Exception:
                log.exception("the launches' credentials could not be looked at; the next look follows")

    def _is_due(self, launch: LaunchId, job: Object) -> bool:
        now = self._clock()
        created = time_of(metadata_of(job).get("creationTimestamp"))
        if not self._pod.mount_credentials or created is None or now - created < _OTHERS_TIME:
            return False
        secret = self._cache.secret(launch)
        if secret is None:
            return True
        owners = metadata_of(secret).get("ownerReferences") or ()
        if all(owner.get("uid") != metadata_of(job)["uid"] for owner in owners):
            return True
        expire_time = time_of((metadata_of(secret).get("annotations") or {}).get(EXPIRE_ANNOTATION))
        lifetime = self._source.lifetime
        return expire_time is not None and lifetime is not None and is_refresh_due(expire_time, lifetime, now)
