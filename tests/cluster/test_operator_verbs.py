"""What operators do by the command that they have, and what becomes of pods: hold back, empty a class, find what is stuck, give
up. Also a class that gives no machine, which a job leaves by itself.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from loramill import v1
from loramill.client import Client
from service.keys import TenantKeys
from service.stuck import SILENCE_LIMIT, START_LIMIT
from service.times import to_datetime, to_timestamp
from store.records import put_record, put_status_record, read_record
from tests.cluster.disturbances import process_of, signal_container
from tests.cluster.installed import Installed, Object, eventually
from tests.cluster.private_service import PrivateService, private_service
from tests.cluster.training import draw_pictures, finished, job_id, job_spec, trains, wait_for, waits_for

ENDLESS = 20_000
"""Steps of a job that is disturbed and comes to no end here."""
CHECKPOINT_EVERY = 10
PATIENCE = 240.0
"""Seconds for a trainer to begin where others run beside it."""
HELD_BACK = v1.STATE_REASON_HELD_BACK
A_WHILE = timedelta(minutes=1)
CLASS: Object = {"gpus": 0, "cpu": "800m", "memory": "3Gi", "ephemeral_storage": "2Gi"}
CLASSES = [
    CLASS | {"name": "near", "price_per_hour": 1.0},
    CLASS | {"name": "far", "price_per_hour": 2.0},
    # Of nodes that never come.
    CLASS | {"name": "nowhere", "price_per_hour": 0.5, "node_selector": {"loramill.dev/test-nowhere": "here"}},
]


class Place:
    """A service whose operator this is, and the jobs that all tests are about, one after another."""

    def __init__(self, private: PrivateService, client: Client, dataset: str) -> None:
        self.private = private
        self.client = client
        self._dataset = dataset

    def create(self, compute_class: str = "near", *, steps: int = ENDLESS, fallback: str = "") -> v1.TrainingJob:
        spec = job_spec(
            self._dataset, steps=steps, compute_class=compute_class, checkpoint_every=min(steps, CHECKPOINT_EVERY)
        )
        if fallback:
            spec.compute_fallback.after.FromTimedelta(A_WHILE)
            spec.compute_fallback.compute_classes.append(fallback)
        return self.client.create_job(spec)

    def start(self) -> None:
        """After the service was stopped."""
        self.private.start()
        self.client.close()
        self.client = self.private.client()

    def job(self, job: v1.TrainingJob) -> v1.TrainingJob:
        return self.client.get_job(job.name)

    def gone_on(self, job: v1.TrainingJob, launch: int) -> v1.TrainingJob:
        """The job when it trains in a launch of that number, from a checkpoint of the ones before."""
        found = wait_for(self.client, job.name, lambda job: len(job.launches) == launch and trains(job), PATIENCE)
        assert any('"resumed"' in line for line in self.client.stream_logs(job.name, launch=launch))
        return found

    def stuck(self) -> dict[str, dict[str, Any]]:
        """By the job's name."""
        return {found["name"]: found for found in json.loads(self.private.command("operator", "stuck", "-o", "json"))}

    def pod(self, job: v1.TrainingJob, launch: int) -> Object:
        number = str(launch)
        pods = self.private.objects("pods", job_id(job))
        return next(pod for pod in pods if pod["metadata"]["labels"]["loramill.dev/launch"] == number)


@pytest.fixture(scope="module")
def place(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("private")
    pictures = draw_pictures(tmp_path_factory.mktemp("pictures"))
    with (
        private_service(installed, folder, compute={"classes": CLASSES}, jobs_at_once=8) as private,
        private.client() as client,
    ):
        place = Place(private, client, client.upload_dataset(pictures).name)
        yield place
        place.client.close()


@pytest.fixture(scope="module")
def without_capacity(place: Place) -> v1.TrainingJob:
    """It waits for its class from the beginning on, and is looked at last."""
    return place.create("nowhere", steps=4, fallback="far")


@pytest.fixture(scope="module")
def movable(place: Place) -> v1.TrainingJob:
    """It trains, and may go elsewhere."""
    job = place.create(fallback="far")
    wait_for(place.client, job.name, trains, PATIENCE)
    return job


@pytest.fixture(scope="module")
def bound(place: Place, without_capacity: v1.TrainingJob, movable: v1.TrainingJob) -> v1.TrainingJob:  # noqa: ARG001
    """It may run on its own class alone, and has just begun. That was held back."""
    place.private.command("admission", "pause", "--reason", "the store moves tonight")
    job = place.create()
    told = wait_for(place.client, job.name, waits_for(HELD_BACK))
    assert told.state == v1.TRAINING_JOB_STATE_QUEUED
    assert "the store moves tonight" in told.state_message
    found = eventually("it to be listed", lambda: place.stuck().get(job.name))
    assert (found["tenant"], found["stateReason"]) == (place.private.tenant, "STATE_REASON_HELD_BACK")
    assert "loramill admission show" in found["remedy"]
    # What has begun goes on meanwhile, and nothing else begins.
    step = place.job(movable).progress.step
    wait_for(place.client, movable.name, lambda job: job.progress.step > step)
    assert not place.private.objects("jobs", job_id(job))
    assert place.job(job).state_reason == HELD_BACK
    place.private.command("admission", "resume")
    wait_for(place.client, job.name, lambda job: len(job.launches) == 1)
    return job


def test_a_paused_admission_lets_no_job_begin_and_those_go_on_that_have(place: Place, bound: v1.TrainingJob) -> None:
    eventually("its Kubernetes Job", lambda: place.private.objects("jobs", job_id(bound)))


def test_a_drained_class_is_left_with_a_checkpoint_and_what_may_go_nowhere_waits_for_it(
    place: Place, movable: v1.TrainingJob, bound: v1.TrainingJob
) -> None:
    place.private.command("admission", "drain", "near", "--reason", "new driver")
    told = wait_for(place.client, bound.name, waits_for(HELD_BACK))
    assert told.state == v1.TRAINING_JOB_STATE_LAUNCHING
    assert "new driver" in told.state_message
    assert eventually("it to be listed", lambda: place.stuck().get(bound.name))["computeClass"] == "near"
    assert "near" in place.private.command("admission", "show")
    moved = place.gone_on(movable, 2)
    assert [launch.compute_class for launch in moved.launches] == ["near", "far"]
    assert (moved.compute.compute_class, moved.compute.price_per_hour) == ("far", 2.0)
    assert place.job(bound).state_reason == HELD_BACK
    left = moved.launches[0]
    assert (left.exit_code, "a checkpoint is saved" in left.message) == (v1.EXIT_CODE_PREEMPTED, True), left
    place.private.command("admission", "open", "near")
    wait_for(place.client, bound.name, lambda job: len(job.launches) == 2)
    assert place.job(bound).launches[1].compute_class == "near"
    place.client.cancel_job(bound.name)


@contextmanager
def hanging(pod: Object) -> Iterator[None]:
    """Its trainer does nothing more, and is there all the same."""
    signal_container(pod, signal.SIGSTOP)
    try:
        yield
    finally:
        if process_of(pod) is not None:
            with suppress(ProcessLookupError):  # it is being killed just now
                signal_container(pod, signal.SIGCONT)


def test_what_is_stuck_is_told_with_its_cause_and_a_launch_that_hangs_is_given_up(
    place: Place, movable: v1.TrainingJob
) -> None:
    nodeless = place.create("nowhere")
    wait_for(place.client, nodeless.name, waits_for(v1.STATE_REASON_UNSCHEDULABLE))
    pod = place.pod(movable, 2)
    with hanging(pod):
        assert place.stuck() == {}, "not so soon"
        a_quarter_of_an_hour_passes(place, silent=movable, waiting=nodeless)
        found = place.stuck()
        assert found.keys() == {movable.name, nodeless.name}
        assert "node affinity/selector" in found[nodeless.name]["stateMessage"]  # the scheduler's words
        assert "nodes of its class" in found[nodeless.name]["remedy"]
        assert "give launch 2 up" in found[movable.name]["remedy"]
        words = (place.private.tenant, job_id(movable), "--launch", "2", "--reason", "it hangs")
        place.private.command("operator", "give-up", *words)
        given_up = place.gone_on(movable, 3)
        assert "gave the launch up: it hangs" in given_up.launches[1].message
    eventually("the trainer that hung to be gone", lambda: process_of(pod) is None)
    again = place.job(movable)
    assert (len(again.launches), again.launches[1].message) == (3, given_up.launches[1].message)
    assert place.stuck().keys() == {nodeless.name}
    for job in (movable, nodeless):
        place.client.cancel_job(job.name)
    for job, learnt in ((movable, 1), (nodeless, 0)):
        ended = finished(place.client, job.name)
        assert (ended.state, len(ended.adapters)) == (v1.TRAINING_JOB_STATE_CANCELLED, learnt), ended.state_message


def a_quarter_of_an_hour_passes(place: Place, silent: v1.TrainingJob, waiting: v1.TrainingJob) -> None:
    """The record's times of both become older by more than the limits: nobody waits for these here. A service that has read what
    never changes does not read it again, so one that has just started looks at them."""
    place.private.stop()
    store, tenant = place.private.store, TenantKeys(place.private.tenant)
    run = tenant.job(job_id(silent)).run(2)
    status = read_record(store, run.status, v1.RunStatus)
    assert status is not None
    status.progress.update_time.CopyFrom(earlier(status.progress.update_time))
    put_status_record(store, run.status, status)
    launch = tenant.job(job_id(waiting)).launch(1)
    assignment = read_record(store, launch, v1.Assignment)
    assert assignment is not None
    assignment.create_time.CopyFrom(earlier(assignment.create_time))
    store.delete(launch)
    assert put_record(store, launch, assignment)
    place.start()


def earlier(time: Timestamp) -> Timestamp:
    return to_timestamp(to_datetime(time) - max(SILENCE_LIMIT, START_LIMIT))


def test_a_job_leaves_a_class_that_gives_it_no_machine_within_the_limit(
    place: Place, without_capacity: v1.TrainingJob
) -> None:
    job = finished(place.client, without_capacity.name)
    assert job.state == v1.TRAINING_JOB_STATE_SUCCEEDED, job.state_message
    assert [launch.compute_class for launch in job.launches] == ["nowhere", "far"]
    why = job.launches[0].message
    assert why.startswith("nowhere has given no machine within 1 minute (")
    assert "node" in why
    assert "The job goes to far, which costs 2 USD an hour." in why
    waited = to_datetime(job.launches[1].create_time) - to_datetime(job.launches[0].create_time)
    assert waited >= A_WHILE
    assert job.compute.compute_class == "far"
