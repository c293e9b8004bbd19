"""Trainers whose node is taken away: on time, with a word to them, or silently, so that one goes on as a zombie."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deploy.cluster import faults
from deploy.cluster.node import NODE2
from loramill import v1
from loramill.client import Client
from service.keys import TenantKeys
from tests.cluster.disturbances import cordoned, evict, process_of, signal_container
from tests.cluster.installed import JOBS_NAMESPACE, Installed, Object, eventually
from tests.cluster.training import finished, job_id, job_spec, trains, wait_for

pytestmark = pytest.mark.disturbing

STEPS = 120
CHECKPOINT_EVERY = 20
CHECKPOINT_WITHIN = 15.0
"""Seconds from SIGTERM; some clouds give no more."""
PREEMPTED, NODE_LOST = v1.STATE_REASON_PREEMPTED, v1.STATE_REASON_NODE_LOST


def spot_job(client: Client, dataset: str) -> v1.TrainingJob:
    """The same for all, so that all must come to the same bits."""
    spec = job_spec(dataset, steps=STEPS, compute_class="gpu-spot", checkpoint_every=CHECKPOINT_EVERY)
    return client.create_job(spec)


@pytest.fixture(scope="module")
def undisturbed(client: Client, dataset: str) -> str:
    """SHA-256 of what a job learns that nobody disturbs."""
    return learnt(client, finished(client, spot_job(client, dataset).name))


def learnt(client: Client, job: v1.TrainingJob) -> str:
    """SHA-256 over the tensors of its one final adapter. The whole files differ in the job's name and time alone."""
    assert job.state == v1.TRAINING_JOB_STATE_SUCCEEDED, job.state_message
    [adapter] = client.list_adapters(job=job.name)
    assert (adapter.step, adapter.partial) == (STEPS, False)
    return adapter.tensors_sha256


def checkpoints(installed: Installed, job: v1.TrainingJob, launch: int) -> set[str]:
    """Those that a run has committed."""
    folder = f"{TenantKeys('tenant-a').job(job_id(job)).run(launch).root}checkpoints/"
    return {found.key for found in installed.store.list(folder) if found.key.endswith("/manifest.json")}


@contextmanager
def training_on(installed: Installed, client: Client, dataset: str, node: str, other: str) -> Iterator[v1.TrainingJob]:
    """A job that trains on one node; what comes after it goes to the other. It is cancelled if it has not ended."""
    with cordoned(installed, other):
        job = spot_job(client, dataset)
        try:
            wait_for(client, job.name, trains)
        except BaseException:
            client.cancel_job(job.name)
            raise
    try:
        with cordoned(installed, node):
            yield job
    finally:
        client.cancel_job(job.name)


def test_an_evicted_trainer_saves_in_time_and_goes_on_elsewhere_to_the_same_bits(
    installed: Installed, client: Client, dataset: str, undisturbed: str
) -> None:
    with training_on(installed, client, dataset, "node2", "node1") as job:
        before = checkpoints(installed, job, 1)
        pod = pod_of(installed, job)
        evict(installed, pod)
        asked = time.monotonic()
        eventually("a checkpoint", lambda: checkpoints(installed, job, 1) - before)
        assert time.monotonic() - asked < CHECKPOINT_WITHIN
        told = wait_for(client, job.name, lambda job: job.state == v1.TRAINING_JOB_STATE_LAUNCHING)
        assert told.state_reason == PREEMPTED, told.state_message
        ended = finished(client, job.name)
        assert [launch.exit_code for launch in ended.launches] == [v1.EXIT_CODE_PREEMPTED, v1.EXIT_CODE_SUCCESS]
        assert pod_of(installed, job, 2)["spec"]["nodeName"] == "node1"
        assert any('"resumed"' in line for line in client.stream_logs(job.name))
        assert learnt(client, ended) == undisturbed


def pod_of(installed: Installed, job: v1.TrainingJob, launch: int = 1) -> Object:
    pod = installed.pod(job_id(job), launch)
    assert pod is not None
    return pod


@contextmanager
def lost(pod: Object) -> Iterator[None]:
    """A node that hangs: nothing is heard of it any more, and the trainer on it stands still as long as nobody wakes it."""
    signal_container(pod, signal.SIGSTOP)
    try:
        with faults.node_lost(NODE2):
            yield
    finally:
        if process_of(pod) is not None:
            signal_container(pod, signal.SIGCONT)


def given_up(installed: Installed, pod: Object) -> None:
    """What Kubernetes does itself a minute after the node has fallen silent."""
    name = pod["metadata"]["name"]
    installed.kubectl("-n", JOBS_NAMESPACE, "delete", "pod", name, "--grace-period=1", "--wait=false")


def test_a_zombie_changes_nothing(installed: Installed, client: Client, dataset: str, undisturbed: str) -> None:
    with training_on(installed, client, dataset, "node2", "node1") as job:
        pod = pod_of(installed, job)
        assert pod["spec"]["nodeName"] == "node2"
        with lost(pod):
            given_up(installed, pod)
            told = wait_for(client, job.name, lambda job: job.state_reason == NODE_LOST)
            assert "node2" in told.state_message
            wait_for(client, job.name, lambda job: len(job.launches) == 2 and trains(job))
            before = checkpoints(installed, job, 1)
            signal_container(pod, signal.SIGCONT)
            eventually("the zombie to stop", lambda: process_of(pod) is None)
            assert len(checkpoints(installed, job, 1) - before) <= 1
            ended = finished(client, job.name)
        assert len(ended.launches) == 2
        assert pod_of(installed, job, 2)["spec"]["nodeName"] == "node1"
        run = TenantKeys("tenant-a").job(job_id(job)).run(1).root
        assert not [found.key for found in installed.store.list(run) if "/adapters/" in found.key]
        assert learnt(client, ended) == undisturbed
