"""Launches that come to nothing: the caller hears why within ten seconds, and what is mended goes on."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.cluster.node import NODE2
from loramill import v1
from loramill.client import Client
from tests.cluster.aftermath import Witness, census
from tests.cluster.installed import JOBS_NAMESPACE, Installed, eventually
from tests.cluster.private_service import PrivateService, private_service
from tests.cluster.training import draw_pictures, job_id, job_spec, wait_for, waits_for

NOWHERE = f"registry.invalid/loramill-trainer@sha256:{'0' * 64}"
SECONDS_TO_TELL = 10
LONG = 20_000
"""Steps of a job that does not come to its end here."""
HELD_LABEL = "loramill.dev/test-held"

CLASSES = [
    {"name": "cpu", "gpus": 0, "cpu": "800m", "memory": "3Gi", "ephemeral_storage": "2Gi"},
    # Less memory than the trainer's libraries take.
    {"name": "starved", "gpus": 0, "cpu": "800m", "memory": "200Mi", "ephemeral_storage": "2Gi"},
    # Less disk than a base model takes.
    {"name": "narrow", "gpus": 0, "cpu": "800m", "memory": "3Gi", "ephemeral_storage": "1Mi"},
    # Of nodes that are yet to come.
    {
        "name": "held",
        "gpus": 0,
        "cpu": "800m",
        "memory": "3Gi",
        "ephemeral_storage": "2Gi",
        "node_selector": {HELD_LABEL: "let-go"},
    },
]


@pytest.fixture(scope="module")
def witness(installed: Installed, client: Client) -> Iterator[Witness]:
    """Of the installed service."""
    with census(installed) as taken:
        yield Witness(client, installed.store, "tenant-a", taken)


@pytest.fixture(scope="module")
def private(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateService]:
    compute = {"classes": CLASSES}
    with private_service(installed, tmp_path_factory.mktemp("private"), compute=compute) as service:
        yield service


@pytest.fixture(scope="module")
def private_witness(installed: Installed, private: PrivateService) -> Iterator[Witness]:
    with census(installed, private.namespace) as taken, private.client() as client:
        yield Witness(client, private.store, private.tenant, taken)


@pytest.fixture(scope="module")
def private_dataset(private_witness: Witness, tmp_path_factory: pytest.TempPathFactory) -> str:
    return private_witness.client.upload_dataset(draw_pictures(tmp_path_factory.mktemp("pictures"))).name


@pytest.fixture(scope="module")
def narrow(private_witness: Witness, private_dataset: str) -> v1.TrainingJob:
    """With too little disk, which the kubelet measures every one or two minutes."""
    return private_witness.client.create_job(job_spec(private_dataset, steps=LONG, compute_class="narrow"))


def test_a_class_that_fits_no_node_is_told_in_the_schedulers_words_and_cancelled_at_once(
    installed: Installed, witness: Witness, dataset: str
) -> None:
    job = witness.client.create_job(job_spec(dataset, compute_class="gpu-none"))
    told = wait_for(witness.client, job.name, waits_for(v1.STATE_REASON_UNSCHEDULABLE), SECONDS_TO_TELL)
    assert told.state == v1.TRAINING_JOB_STATE_LAUNCHING
    assert "Insufficient nvidia.com/gpu" in told.state_message
    assert_cancelled(witness, installed, job)


def test_a_quota_is_told_and_the_job_goes_on_when_it_is_gone(
    installed: Installed,
    witness: Witness,
    dataset: str,
    narrow: v1.TrainingJob,  # noqa: ARG001 (it begins, and is looked at last)
) -> None:
    in_jobs = ("--namespace", JOBS_NAMESPACE)
    installed.kubectl(*in_jobs, "create", "quota", "full", "--hard=pods=0")
    try:
        used = (*in_jobs, "get", "quota", "full", "-o", "jsonpath={.status.used}")
        eventually("the quota to be counted", lambda: "pods" in installed.kubectl(*used))
        job = witness.client.create_job(job_spec(dataset))
        told = wait_for(witness.client, job.name, waits_for(v1.STATE_REASON_QUOTA), SECONDS_TO_TELL)
        assert told.state == v1.TRAINING_JOB_STATE_LAUNCHING
        assert "exceeded quota: full" in told.state_message
    finally:
        installed.kubectl(*in_jobs, "delete", "quota", "full")
    witness.trained(job.name)


def test_an_image_that_does_not_exist_is_told_and_what_is_begun_anew_takes_the_right_one(
    installed: Installed, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    changes = {"trainers": {"image": NOWHERE}, "compute": {"classes": CLASSES}}
    with private_service(installed, tmp_path, **changes) as private, census(installed, private.namespace) as taken:
        with private.client() as client:
            dataset = client.upload_dataset(draw_pictures(pictures)).name
            given_up, mended = (client.create_job(job_spec(dataset, compute_class="cpu")) for _ in range(2))
            for job in (given_up, mended):
                told = wait_for(client, job.name, waits_for(v1.STATE_REASON_IMAGE_PULL), SECONDS_TO_TELL)
                assert told.state == v1.TRAINING_JOB_STATE_LAUNCHING
                assert NOWHERE in told.state_message
            assert_cancelled(Witness(client, private.store, private.tenant, taken), private, given_up)
        # The operator names the right image, and deletes the Job that was made with the wrong one.
        private.stop()
        private.configure(compute={"classes": CLASSES})
        private.start()
        [wrong] = private.objects("jobs", job_id(mended))
        installed.kubectl("--namespace", private.namespace, "delete", "job", wrong["metadata"]["name"])
        with private.client() as client:
            Witness(client, private.store, private.tenant, taken).trained(mended.name)


def test_wrong_credentials_of_the_store_end_a_launch_and_the_next_one_has_its_own(
    installed: Installed, private: PrivateService, private_witness: Witness, private_dataset: str
) -> None:
    client = private_witness.client
    job = client.create_job(job_spec(private_dataset, compute_class="held"))
    wait_for(client, job.name, waits_for(v1.STATE_REASON_UNSCHEDULABLE), SECONDS_TO_TELL)
    [secret] = private.objects("secrets", job_id(job))
    key = json.loads(b64decode(secret["data"]["credentials.json"])) | {"SecretAccessKey": "wrong"}
    patch = {"data": {"credentials.json": b64encode(json.dumps(key).encode()).decode()}}
    name = secret["metadata"]["name"]
    installed.kubectl("--namespace", private.namespace, "patch", "secret", name, f"--patch={json.dumps(patch)}")
    installed.kubectl("label", "node", NODE2.name, f"{HELD_LABEL}=let-go")
    try:
        trained = private_witness.trained(job.name, launches=2)
    finally:
        installed.kubectl("label", "node", NODE2.name, f"{HELD_LABEL}-")
    wrong = trained.launches[0]
    assert wrong.exit_code == v1.EXIT_CODE_STORAGE
    assert "credentials" in wrong.message
    assert not wrong.HasField("claim_time")


def test_memory_that_does_not_suffice_ends_the_job_and_the_sentence_says_what_helps(
    private_witness: Witness, private_dataset: str
) -> None:
    job = private_witness.client.create_job(job_spec(private_dataset, compute_class="starved"))
    job = private_witness.ended(job.name)
    assert (job.state, job.state_reason) == (v1.TRAINING_JOB_STATE_FAILED, v1.STATE_REASON_OUT_OF_MEMORY)
    assert "its limit of 200Mi; choose a compute class with more memory" in job.state_message
    assert len(job.launches) == 1


def test_a_disk_that_does_not_suffice_ends_a_launch_which_is_told_and_tried_again(
    private_witness: Witness, narrow: v1.TrainingJob
) -> None:
    wait_for(private_witness.client, narrow.name, lambda job: len(job.launches) >= 2, seconds=280)
    private_witness.client.cancel_job(narrow.name)
    job = private_witness.ended(narrow.name)
    # What a launch learnt before the node looked at its disk (every ten seconds) is kept, as of any job that is cancelled.
    assert 'volume "work" exceeds the limit "1Mi"' in job.launches[0].message


def assert_cancelled(witness: Witness, place: Installed | PrivateService, job: v1.TrainingJob) -> None:
    """From where it waits; nothing of it is left in the cluster."""
    witness.client.cancel_job(job.name)
    ended = witness.ended(job.name)
    assert ended.state == v1.TRAINING_JOB_STATE_CANCELLED
    assert not ended.adapters
    eventually(
        "its Job to be gone", lambda: not [*place.objects("jobs", job_id(job)), *place.objects("pods", job_id(job))]
    )
