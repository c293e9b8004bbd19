"""Jobs under a queue of Kueue's. Kueue's part, to suspend and to let go, is played by hand; no more than that is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from loramill import v1
from loramill.client import Client
from service.kubernetes_names import KUEUE_QUEUE_LABEL
from tests.cluster.installed import Installed, Object, eventually
from tests.cluster.private_service import PrivateService, private_service
from tests.cluster.training import draw_pictures, finished, job_id, job_spec, trains, wait_for, waits_for

SUSPENDED = waits_for(v1.STATE_REASON_SUSPENDED)


@pytest.fixture(scope="module")
def service(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateService]:
    with private_service(installed, tmp_path_factory.mktemp("service"), trainers={"queue_name": "gpus"}) as service:
        yield service


@pytest.fixture(scope="module")
def client(service: PrivateService) -> Iterator[Client]:
    with service.client() as client:
        yield client


@pytest.fixture(scope="module")
def dataset(client: Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    return client.upload_dataset(draw_pictures(tmp_path_factory.mktemp("pictures"))).name


def kubernetes_job(service: PrivateService, job: v1.TrainingJob, launch: int = 1) -> Object:
    name = f"loramill-{job_id(job)}-{launch}"
    return next(found for found in service.objects("jobs", job_id(job)) if found["metadata"]["name"] == name)


def suspend(service: PrivateService, job: v1.TrainingJob, launch: int, suspended: bool) -> None:
    """As Kueue does to stop a Job, and to admit it."""
    patch = json.dumps({"spec": {"suspend": suspended}})
    name = kubernetes_job(service, job, launch)["metadata"]["name"]
    service.installed.kubectl("--namespace", service.namespace, "patch", "job", name, "--patch", patch)


def test_a_job_waits_for_the_queue_and_gives_its_place_back_when_the_queue_takes_it(
    service: PrivateService, client: Client, dataset: str
) -> None:
    job = client.create_job(job_spec(dataset, steps=150, checkpoint_every=1000))
    waiting = wait_for(client, job.name, SUSPENDED)
    assert waiting.state == v1.TRAINING_JOB_STATE_LAUNCHING
    assert "queue gpus" in waiting.state_message
    made = kubernetes_job(service, job)
    assert made["metadata"]["labels"][KUEUE_QUEUE_LABEL] == "gpus"
    assert made["spec"]["suspend"] is True
    assert service.objects("pods", job_id(job)) == []

    suspend(service, job, 1, False)
    wait_for(client, job.name, trains)
    suspend(service, job, 1, True)
    waiting = wait_for(client, job.name, lambda job: len(job.launches) == 2 and SUSPENDED(job))
    stopped = waiting.launches[0]
    assert stopped.exit_code == v1.EXIT_CODE_PREEMPTED
    assert "a checkpoint is saved" in stopped.message
    assert kubernetes_job(service, job, 2)["spec"]["suspend"] is True

    suspend(service, job, 2, False)
    ended = finished(client, job.name)
    assert ended.state == v1.TRAINING_JOB_STATE_SUCCEEDED, ended.state_message
    assert len(ended.launches) == 2
    assert any('"resumed"' in line for line in client.stream_logs(job.name))


def test_a_job_that_the_queue_never_let_go_can_be_cancelled(
    service: PrivateService, client: Client, dataset: str
) -> None:
    job = client.create_job(job_spec(dataset))
    wait_for(client, job.name, SUSPENDED)
    client.cancel_job(job.name)
    assert finished(client, job.name).state == v1.TRAINING_JOB_STATE_CANCELLED
    eventually("its Kubernetes Job to be gone", lambda: not service.objects("jobs", job_id(job)))
