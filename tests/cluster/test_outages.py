"""The API server or the object store is away for a minute: refusing, then not answering."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress

import pytest

from deploy.cluster import faults
from loramill import errors, v1
from loramill.client import Client
from tests.cluster.aftermath import Witness, census
from tests.cluster.installed import Installed, eventually
from tests.cluster.training import job_spec, trains, wait_for

pytestmark = pytest.mark.disturbing

Fault = Callable[[str], AbstractContextManager[None]]

HALF_A_MINUTE = 30
STEPS = 150
"""Enough to be in the middle of training when the outage begins, and to need the store while it lasts."""
ANYWHERE = "gpu-spot"


@pytest.fixture(scope="module")
def witness(installed: Installed, client: Client) -> Iterator[Witness]:
    with census(installed) as taken:
        yield Witness(client, installed.store, "tenant-a", taken)


@pytest.fixture
def training(client: Client, dataset: str) -> v1.TrainingJob:
    """A job that trains."""
    job = client.create_job(job_spec(dataset, steps=STEPS, compute_class=ANYWHERE, checkpoint_every=20))
    return wait_for(client, job.name, trains)


@contextmanager
def half_a_minute(fault: Fault, name: str) -> Iterator[None]:
    """It lasts that long, however soon its block is done."""
    with fault(name):
        until = time.monotonic() + HALF_A_MINUTE
        yield
        eventually("half a minute to pass", lambda: time.monotonic() > until)


def test_jobs_go_on_and_new_ones_are_taken_while_the_api_server_is_away(
    installed: Installed, witness: Witness, training: v1.TrainingJob, dataset: str
) -> None:
    client = installed.client("tenant-a")
    client.get_job(training.name)  # who calls is known from here on for a minute
    with half_a_minute(faults.refusing, faults.API_SERVER):
        meanwhile = client.create_job(job_spec(dataset, compute_class=ANYWHERE))
        step = client.get_job(training.name).progress.step
        assert client.get_job(meanwhile.name).state in (v1.TRAINING_JOB_STATE_QUEUED, v1.TRAINING_JOB_STATE_LAUNCHING)
    with half_a_minute(faults.not_answering, faults.API_SERVER):
        pass
    assert client.get_job(training.name).progress.step > step
    witness.trained(training.name)
    witness.trained(meanwhile.name)


def test_jobs_outlast_a_store_that_is_away_before_and_while_they_train(
    witness: Witness, training: v1.TrainingJob, dataset: str
) -> None:
    client = witness.client
    beginning = client.create_job(job_spec(dataset, compute_class=ANYWHERE))
    wait_for(client, beginning.name, lambda job: len(job.launches) == 1)
    asked = job_spec(dataset, compute_class=ANYWHERE)
    asked.outputs.name = f"asked-{uuid.uuid4().hex}"

    def ask() -> None:
        with suppress(errors.Unreachable):
            client.create_job(asked, request_id=asked.outputs.name)

    with ThreadPoolExecutor() as callers:
        with half_a_minute(faults.refusing, faults.CEPH):
            callers.submit(ask)
        with half_a_minute(faults.not_answering, faults.CEPH):
            callers.submit(ask)
    meanwhile = client.create_job(asked, request_id=asked.outputs.name)
    for name in (beginning.name, training.name, meanwhile.name):
        witness.trained(name)
    assert [job.name for job in client.list_jobs() if job.spec.outputs.name == asked.outputs.name] == [meanwhile.name]
