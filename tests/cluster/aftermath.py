"""What a bad day has left of a job, in the cluster and in the record: nothing is lost, nothing is there twice."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from loramill import v1
from service.keys import TenantKeys, number_of, part_after
from service.kubernetes_api import ONCE, PODS, api_at
from service.kubernetes_errors import KubernetesError
from store.records import read_record
from tests.cluster.installed import JOBS_NAMESPACE, Installed, Object, eventually
from tests.cluster.training import finished, job_id

if TYPE_CHECKING:
    from loramill.client import Client
    from service.kubernetes_api import KubernetesApi
    from store.object_store import ObjectStore

_LOOK_EVERY_SECONDS = 0.3


class Census:
    """How many pods of a launch were alive at once at most, counted all the time in one namespace."""

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._most: dict[str, int] = defaultdict(int)
        self._over = threading.Event()

    def most(self, job: v1.TrainingJob) -> int:
        return self._most[job_id(job)]

    def living(self, job: v1.TrainingJob) -> list[str]:
        """Names of the job's pods that live now."""
        return [pod["metadata"]["name"] for pod in self._living() if _job_of(pod) == job_id(job)]

    @contextmanager
    def taken(self) -> Iterator[Census]:
        counting = threading.Thread(target=self._count, name="census", daemon=True)
        counting.start()
        try:
            yield self
        finally:
            self._over.set()
            counting.join()

    def _count(self) -> None:
        while not self._over.wait(_LOOK_EVERY_SECONDS):
            try:
                jobs = [_job_of(pod) for pod in self._living()]
            except KubernetesError:  # it may be the API server that is away
                continue
            for job in jobs:
                self._most[job] = max(self._most[job], jobs.count(job))

    def _living(self) -> list[Object]:
        pods = self._api.list(PODS, self._namespace, "loramill.dev/job").items
        return [pod for pod in pods if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")]


class Witness:
    """Sees to it that jobs of one tenant of one service end as they should."""

    def __init__(self, client: Client, store: ObjectStore, tenant: str, census: Census) -> None:
        self.client = client
        self._store = store
        self._tenant = tenant
        self._census = census

    def trained(self, name: str, launches: int = 1, seconds: float = 180.0) -> v1.TrainingJob:
        """The job, which succeeds after so many launches; each thing that it leaves is there exactly once."""
        job = self.ended(name, seconds)
        told = [f"launch {launch.number}: exit code {launch.exit_code}, {launch.message}" for launch in job.launches]
        assert job.state == v1.TRAINING_JOB_STATE_SUCCEEDED, (job.state_message, told)
        assert [launch.number for launch in job.launches] == [*range(1, launches + 1)], told
        assert job.progress.step == job.progress.steps
        adapters = [adapter.name for adapter in self.client.list_adapters(job=name)]
        assert adapters.count(f"adapters/{job_id(job)}-final") == 1
        assert sorted(adapters) == sorted(job.adapters)
        return job

    def ended(self, name: str, seconds: float = 180.0) -> v1.TrainingJob:
        """The job, which ends however: never with two pods at once, and with one outcome, that callers hear of."""
        job = finished(self.client, name, seconds)
        assert [found.name for found in self.client.list_jobs()].count(name) == 1
        assert self._census.most(job) <= 1
        eventually("no pod of the job to live", lambda: not self._census.living(job))
        self._assert_record_is_whole(job)
        return job

    def _assert_record_is_whole(self, job: v1.TrainingJob) -> None:
        keys = TenantKeys(self._tenant).job(job_id(job))
        launches = {number_of(entry.key) for entry in self._store.list(keys.launches_prefix)}
        assert launches == {launch.number for launch in job.launches}
        assert {int(part_after(keys.runs, entry.key)) for entry in self._store.list(keys.runs)} <= launches
        outcome = read_record(self._store, keys.outcome, v1.Outcome)
        assert outcome is not None
        assert (outcome.state, outcome.reason) == (job.state, job.state_reason)
        active = f"{TenantKeys(self._tenant).active_prefix}{job_id(job)}"
        eventually("the job to be no more among the living", lambda: not [*self._store.list(active)])


@contextmanager
def census(installed: Installed, namespace: str = JOBS_NAMESPACE) -> Iterator[Census]:
    """In a namespace, while it is entered."""
    with Census(api_at(Path(installed.description["kubeconfig"]), ONCE), namespace).taken() as taken:
        yield taken


def _job_of(pod: Object) -> str:
    job: str = pod["metadata"]["labels"]["loramill.dev/job"]
    return job
