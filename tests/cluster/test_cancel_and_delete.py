"""Cancelling and deleting jobs on the cluster: what goes at once, what goes soon, and what stays."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from loramill import v1
from loramill.client import Client
from loramill.errors import NotFound
from service.keys import TenantKeys, audit_prefix
from store.records import read_record
from tests.cluster.installed import Installed, eventually
from tests.cluster.training import finished, job_id, job_spec, trains, wait_for, waits_for

ENDLESS = 100_000
"""Steps."""
ACKNOWLEDGED_WITHIN = 1.0
GONE_WITHIN = 30.0

TENANT = TenantKeys("tenant-a")
CANCELLING, CANCELLED = v1.TRAINING_JOB_STATE_CANCELLING, v1.TRAINING_JOB_STATE_CANCELLED


@pytest.fixture(scope="module")
def cancelled(installed: Installed, client: Client, dataset: str) -> Iterator[v1.TrainingJob]:
    """A job that was cancelled while it trained."""
    job = client.create_job(job_spec(dataset, steps=ENDLESS))
    try:
        wait_for(client, job.name, trains)
        yield cancelled_soon(installed, client, job)
        for adapter in client.list_adapters(job=job.name):
            client.delete_adapter(adapter.name)
    finally:
        with suppress(NotFound):
            client.cancel_job(job.name)


def cancelled_soon(installed: Installed, client: Client, job: v1.TrainingJob) -> v1.TrainingJob:
    """Cancels it; the job when its pod is gone. Until then it is being cancelled."""
    asked = time.monotonic()
    acknowledged = client.cancel_job(job.name)
    answers = [time.monotonic() - asked, *(seconds_to_cancel(client, job) for _ in range(3))]
    assert min(answers) < ACKNOWLEDGED_WITHIN, answers
    assert acknowledged.state == CANCELLING
    while (pod := installed.pod(job_id(job))) is not None and pod["status"]["phase"] == "Running":
        assert client.get_job(job.name).state in (CANCELLING, CANCELLED)
        assert time.monotonic() - asked < GONE_WITHIN
    ended = finished(client, job.name)
    eventually("the pod to be gone", lambda: installed.pod(job_id(job)) is None, asked + GONE_WITHIN - time.monotonic())
    return ended


def seconds_to_cancel(client: Client, job: v1.TrainingJob) -> float:
    """Asked again, the service does the same once more. The quickest counts: other things run on the machine, trainers too."""
    asked = time.monotonic()
    client.cancel_job(job.name)
    return time.monotonic() - asked


def in_cluster(installed: Installed, job: v1.TrainingJob) -> list[str]:
    """Everything that the cluster has of a job."""
    found = [each for kind in ("jobs", "pods", "secrets") for each in installed.objects(kind, job_id(job))]
    return [f"{each['kind']} {each['metadata']['name']}" for each in found]


def test_a_cancelled_job_keeps_what_it_learnt(client: Client, cancelled: v1.TrainingJob, tmp_path: Path) -> None:
    assert cancelled.state == CANCELLED
    assert cancelled.launches[0].exit_code == v1.EXIT_CODE_CANCELLED
    adapter = client.get_adapter(cancelled.adapters[-1])
    assert adapter.partial
    assert 0 < adapter.step < ENDLESS
    assert client.download_adapter(adapter.name, tmp_path).stat().st_size > 0


def test_nothing_of_a_cancelled_job_stays_in_the_cluster(installed: Installed, cancelled: v1.TrainingJob) -> None:
    eventually("Job, pod and Secret to be gone", lambda: not in_cluster(installed, cancelled))


def test_a_deleted_job_leaves_its_adapter_a_tombstone_and_an_audit_record(
    installed: Installed, client: Client, cancelled: v1.TrainingJob, tmp_path: Path
) -> None:
    client.delete_job(cancelled.name)
    with pytest.raises(NotFound):
        client.get_job(cancelled.name)
    keys = TENANT.job(job_id(cancelled))
    left = {found.key.removeprefix(keys.root) for found in installed.store.list(keys.root)}
    assert "control/tombstone.json" in left
    assert all(key.startswith("runs/1/adapters/") for key in left - {"control/tombstone.json"})
    assert client.download_adapter(cancelled.adapters[-1], tmp_path).stat().st_size > 0
    assert ("DeleteTrainingJob", cancelled.name) in audited(installed)
    assert ("CancelTrainingJob", cancelled.name) in audited(installed)


def audited(installed: Installed) -> set[tuple[str, str]]:
    """Method and resource of the newest audit records of tenant-a."""
    newest = itertools.islice(installed.store.list(audit_prefix("tenant-a")), 50)
    records = [read_record(installed.store, found.key, v1.AuditRecord) for found in newest]
    return {(record.method.rpartition("/")[2], record.resource) for record in records if record is not None}


def test_with_its_adapters_nothing_of_a_job_stays_but_the_tombstone(
    installed: Installed, client: Client, dataset: str
) -> None:
    job = finished(client, client.create_job(job_spec(dataset, steps=4)).name)
    assert len(in_cluster(installed, job)) == 3
    client.delete_job(job.name, delete_adapters=True)
    keys = TENANT.job(job_id(job))
    assert [found.key for found in installed.store.list(keys.root)] == [keys.tombstone]
    assert not list(client.list_adapters(job=job.name))
    eventually("Job, pod and Secret to be gone", lambda: not in_cluster(installed, job))


def test_a_waiting_job_is_cancelled_without_a_pod(installed: Installed, client: Client, dataset: str) -> None:
    job = client.create_job(job_spec(dataset, compute_class="gpu-none"))
    wait_for(client, job.name, waits_for(v1.STATE_REASON_UNSCHEDULABLE))
    client.cancel_job(job.name)
    ended = finished(client, job.name)
    assert (ended.state, list(ended.adapters)) == (CANCELLED, [])
    assert "before anything was saved" in ended.state_message
    eventually("its Job to be gone", lambda: not installed.objects("jobs", job_id(job)))


def test_a_cancellation_that_comes_after_the_last_step_is_told_that_training_won(
    installed: Installed, client: Client, dataset: str
) -> None:
    job = client.create_job(job_spec(dataset, steps=4))
    adapter = f"{TENANT.job(job_id(job)).run(1).root}adapters/final/manifest.json"
    eventually("the adapter to be committed", lambda: read_record(installed.store, adapter, v1.AdapterManifest), 180)
    client.cancel_job(job.name)
    ended = finished(client, job.name)
    assert ended.state == v1.TRAINING_JOB_STATE_SUCCEEDED
    assert "4 steps of training are done" in ended.state_message
    assert client.cancel_job(job.name).state == v1.TRAINING_JOB_STATE_SUCCEEDED
