"""A job from Create to its adapter, on a node of the cluster, as a caller sees it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from loramill import v1
from loramill.client import Client
from tests.cluster.installed import Installed, eventually
from tests.cluster.training import finished, job_id, job_spec, trains, wait_for


@pytest.fixture(scope="module")
def trained(client: Client, dataset: str) -> v1.TrainingJob:
    """A job that was left alone."""
    return finished(client, client.create_job(job_spec(dataset)).name)


def test_it_succeeds_with_an_adapter_whose_digest_is_that_of_the_record(
    client: Client, trained: v1.TrainingJob, tmp_path: Path
) -> None:
    assert trained.state == v1.TRAINING_JOB_STATE_SUCCEEDED, trained.state_message
    adapter = client.get_adapter(trained.adapters[-1])
    path = client.download_adapter(adapter.name, tmp_path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in {file.sha256 for file in adapter.files}


def test_it_tells_its_class_its_price_and_what_the_time_to_the_first_step_went_to(trained: v1.TrainingJob) -> None:
    assert (trained.compute.compute_class, trained.compute.price_per_hour) == ("gpu", 1.2)
    [launch] = trained.launches
    assert launch.compute_class == "gpu"
    told = [v1.StartPhase.Name(span.phase).removeprefix("START_PHASE_") for span in launch.start_phases]
    assert told == ["QUEUED", "SCHEDULING", "CONTAINER", "PROCESS", "DATA", "MODEL", "ENCODING", "FIRST_STEP"]
    until_first_step = sum(span.duration.ToTimedelta().total_seconds() for span in launch.start_phases)
    assert 0 < until_first_step < 120


def test_it_ran_as_one_pod_that_got_a_gpu_and_no_token_of_the_cluster(
    installed: Installed, trained: v1.TrainingJob
) -> None:
    [job] = installed.objects("jobs", job_id(trained))
    eventually(
        "the Job to be counted as done",
        lambda: installed.objects("jobs", job_id(trained))[0]["status"].get("succeeded") == 1,
    )
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["automountServiceAccountToken"] is False


def test_its_log_is_the_same_from_the_pod_and_from_the_store(
    installed: Installed, client: Client, dataset: str
) -> None:
    job = client.create_job(job_spec(dataset))
    wait_for(client, job.name, trains)
    live = list(client.stream_logs(job.name, follow=True))
    assert any("claim" in line or "step" in line for line in live)
    ended = finished(client, job.name)
    installed.kubectl("-n", "loramill-jobs", "delete", "pod", installed.pod(job_id(ended))["metadata"]["name"])  # type: ignore[index]
    eventually("the pod to be gone", lambda: not installed.pod(job_id(ended)))
    assert list(client.stream_logs(job.name)) == live
