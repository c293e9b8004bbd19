"""Replicas of the service that die and are replaced: jobs run on, callers hardly notice, one replica at a time gives places."""

from __future__ import annotations

import json
import random
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from loramill import v1
from loramill.client import Client
from loramill.errors import ClientError
from loramill.v1.training_service_pb2_grpc import TrainingServiceStub
from service.indexes import all_active_jobs
from service.keys import TenantKeys
from tests.cluster.aftermath import Witness, census
from tests.cluster.disturbances import signal_container
from tests.cluster.installed import SERVICE_NAMESPACE, Installed, Object, eventually
from tests.cluster.training import draw_pictures, finished, job_id, job_spec, trains, wait_for, waits_for

pytestmark = pytest.mark.disturbing

NOWHERE = "gpu-none"
"""A compute class that fits no node: its jobs hold their places and take no processor."""
JOBS_OF_EACH_TENANT = 10
PATIENCE = 180.0
LEASE_SECONDS = 2 * (15 + 5)
"""Twice its duration and the time between two tries of those who want it: the machine is busy."""

WAITS = v1.TRAINING_JOB_STATE_QUEUED
LAUNCHED = v1.TRAINING_JOB_STATE_LAUNCHING


# -- replicas --------------------------------------------------------------------------------------------------------------


def replicas(installed: Installed) -> list[Object]:
    """Those that serve."""
    serving = set(installed.service_pods())
    pods = installed.objects("pods", namespace=SERVICE_NAMESPACE)
    return [pod for pod in pods if pod["metadata"]["name"] in serving]


def delete(installed: Installed, name: str) -> None:
    """A replica's pod at once, without a word to it."""
    installed.kubectl("-n", SERVICE_NAMESPACE, "delete", "pod", name, "--grace-period=0", "--force")


def all_serve(installed: Installed) -> None:
    installed.kubectl("-n", SERVICE_NAMESPACE, "rollout", "status", "deployment/loramill", "--timeout=120s")


@pytest.fixture(autouse=True)
def _as_before(installed: Installed) -> Iterator[None]:
    all_serve(installed)
    yield
    all_serve(installed)


# -- callers ---------------------------------------------------------------------------------------------------------------


@contextmanager
def asking(client: Client, name: str) -> Iterator[list[ClientError]]:
    """Asks for a job all the time; how that failed."""
    failures: list[ClientError] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.1):
            try:
                client.get_job(name)
            except ClientError as error:
                failures.append(error)

    thread = threading.Thread(target=ask, name="asking", daemon=True)
    thread.start()
    try:
        yield failures
    finally:
        over.set()
        thread.join()


def watched(client: Client, name: str, losses: list[ClientError]) -> list[v1.TrainingJob]:
    """All that a watch of our client tells of a job until its end."""
    return list(client.watch_job(name, on_lost=losses.append))


def raw_end(installed: Installed, token: str, name: str, began: threading.Event) -> grpc.StatusCode:
    """With which code a stream ends for who calls without our client."""
    credentials = grpc.ssl_channel_credentials(installed.ca.read_bytes())
    with grpc.secure_channel(installed.address, credentials) as channel:
        stream = TrainingServiceStub(channel).WatchTrainingJob(
            v1.WatchTrainingJobRequest(name=name), metadata=(("authorization", f"Bearer {token}"),)
        )
        try:
            for _ in stream:
                began.set()
        except grpc.RpcError:
            began.set()
        code: grpc.StatusCode = stream.code()
        return code


@pytest.fixture
def waiting_job(client: Client, dataset: str) -> Iterator[v1.TrainingJob]:
    """A job that waits for a node that never comes."""
    job = client.create_job(job_spec(dataset, compute_class=NOWHERE))
    yield wait_for(client, job.name, waits_for(v1.STATE_REASON_UNSCHEDULABLE))
    client.cancel_job(job.name)


# -- tests -----------------------------------------------------------------------------------------------------------------


def test_replicas_are_killed_and_replaced_while_jobs_run_and_callers_call(
    installed: Installed, client: Client, dataset: str, waiting_job: v1.TrainingJob
) -> None:
    began, losses = threading.Event(), list[ClientError]()
    with census(installed) as counted, asking(client, waiting_job.name) as failures, ThreadPoolExecutor() as threads:
        ours: Future[list[v1.TrainingJob]] = threads.submit(watched, client, waiting_job.name, losses)
        raw = threads.submit(raw_end, installed, installed.token("tenant-a"), waiting_job.name, began)
        assert began.wait(60)
        jobs = [client.create_job(job_spec(dataset, steps=40)) for _ in range(2)]
        wait_for(client, jobs[0].name, trains)
        first, second, _ = random.sample(replicas(installed), 3)
        delete(installed, first["metadata"]["name"])
        signal_container(second, signal.SIGKILL)
        jobs.append(client.create_job(job_spec(dataset, steps=4)))  # while one replica is left
        all_serve(installed)
        installed.kubectl("-n", SERVICE_NAMESPACE, "rollout", "restart", "deployment/loramill")
        all_serve(installed)
        witness = Witness(client, installed.store, "tenant-a", counted)
        for job in jobs:
            witness.trained(job.name)
            claims = f"{TenantKeys('tenant-a').job(job_id(job)).run(1).root}claim"
            assert len(list(installed.store.list(claims))) == 1
        client.cancel_job(waiting_job.name)
        states = [job.state for job in ours.result(60)]
    assert failures == []
    assert losses, "the watch was to lose its replica"
    assert states[-1] == v1.TRAINING_JOB_STATE_CANCELLED
    assert raw.result() is grpc.StatusCode.UNAVAILABLE


def holder(installed: Installed) -> str:
    """The pod that gives places."""
    asked = ("get", "lease", "loramill-admission", "-o", "json")
    lease: Object = json.loads(installed.kubectl("-n", SERVICE_NAMESPACE, *asked))
    name: str = lease["spec"]["holderIdentity"]
    return name


class Crowd:
    """Jobs of two tenants that were created at once, of which not one can run."""

    def __init__(self, clients: tuple[Client, ...], datasets: tuple[str, ...]) -> None:
        self._clients = clients

        def create(number: int) -> tuple[Client, str]:
            client, dataset = clients[number % 2], datasets[number % 2]
            return client, client.create_job(job_spec(dataset, compute_class=NOWHERE)).name

        with ThreadPoolExecutor(2 * JOBS_OF_EACH_TENANT) as threads:
            self.jobs = list(threads.map(create, range(2 * JOBS_OF_EACH_TENANT)))

    @property
    def ids(self) -> set[str]:
        return {name.removeprefix("trainingJobs/") for _, name in self.jobs}

    def of(self, state: v1.TrainingJobState.ValueType) -> list[str]:
        """Those that the service knows to be in a state, oldest first."""
        mine = {name for _, name in self.jobs}
        listed = [job for client in self._clients for job in client.list_jobs(states=[state]) if job.name in mine]
        assert len(listed) == len({job.name for job in listed}), "none is doubled"
        # They are made side by side: an id may be older than one that was recorded before it. Greater ids are older.
        by_id = sorted(listed, key=lambda job: job.name, reverse=True)
        return [job.name for job in sorted(by_id, key=lambda job: job.create_time.ToNanoseconds())]

    def cancel(self, name: str) -> None:
        next(client for client, known in self.jobs if known == name).cancel_job(name)

    def ended(self) -> list[v1.TrainingJob]:
        return [finished(client, name) for client, name in self.jobs]


@pytest.fixture
def crowd(installed: Installed, client: Client, dataset: str, tmp_path: Path) -> Iterator[Crowd]:
    with installed.client("tenant-ab") as other:
        theirs = other.upload_dataset(draw_pictures(tmp_path)).name
        crowd = Crowd((client, other), (dataset, theirs))
        try:
            yield crowd
        finally:
            for _, name in crowd.jobs:
                crowd.cancel(name)
            ended = crowd.ended()
        assert {job.state for job in ended} == {v1.TRAINING_JOB_STATE_CANCELLED}
        assert all(len(job.launches) <= 1 for job in ended)


def test_places_are_given_in_order_also_when_the_replica_dies_that_gives_them(
    installed: Installed, crowd: Crowd
) -> None:
    places = installed.operator_file["jobs_at_once"]
    others = [f"{tenant}/{job}" for tenant, job in all_active_jobs(installed.store) if job not in crowd.ids]
    launched = eventually(
        f"all {places} places to be taken by the crowd, beside {others}",
        lambda: len(found := _launched(crowd, places)) == places and found,
        PATIENCE,
    )

    def place_is_given_on(name: str) -> None:
        """Frees the place of one; it goes to the oldest that waits."""
        following = crowd.of(WAITS)[0]
        crowd.cancel(name)
        eventually(f"the place to go to {following}", lambda: following in _launched(crowd, places), PATIENCE)

    place_is_given_on(launched[0])
    before = holder(installed)
    delete(installed, before)
    after = eventually("another to give places", lambda: (now := holder(installed)) != before and now, LEASE_SECONDS)
    place_is_given_on(launched[1])
    place_is_given_on(launched[2])
    assert holder(installed) == after


def _launched(crowd: Crowd, places: int) -> list[str]:
    launched = crowd.of(LAUNCHED)
    assert len(launched) <= places, f"more than {places} hold places: {launched}"
    return launched
