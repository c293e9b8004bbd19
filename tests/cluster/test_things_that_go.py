"""Pods, Jobs and nodes that are taken away under a job, by people or by the cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from deploy.cluster import faults
from deploy.cluster.node import NODE2
from loramill import v1
from loramill.client import Client
from tests.cluster.aftermath import Witness, census
from tests.cluster.installed import JOBS_NAMESPACE, Installed, eventually
from tests.cluster.private_service import private_service
from tests.cluster.training import draw_pictures, job_id, job_spec, trains, wait_for, waits_for

pytestmark = pytest.mark.disturbing

IN_JOBS = ("--namespace", JOBS_NAMESPACE)
STEPS = 150
"""Enough to be disturbed in the middle."""
ENDLESS = 20_000
ANYWHERE = "gpu-spot"


@pytest.fixture(scope="module")
def witness(installed: Installed, client: Client) -> Iterator[Witness]:
    with census(installed) as taken:
        yield Witness(client, installed.store, "tenant-a", taken)


@pytest.fixture(scope="module")
def disturbed(installed: Installed, client: Client, dataset: str) -> dict[str, v1.TrainingJob]:
    """Jobs that train; what happens to each while it does is its name here. One begins as soon as another is disturbed."""
    spec = job_spec(dataset, steps=STEPS, compute_class=ANYWHERE)
    jobs = {}
    for what in ("pod deleted", "Job deleted", "Job suspended"):
        job = jobs[what] = client.create_job(spec)
        training = wait_for(client, job.name, trains)
        job_object = f"job/loramill-{job_id(job)}-1"
        if what == "pod deleted":
            installed.kubectl(*IN_JOBS, "delete", "--wait=false", "pod", "-l", f"loramill.dev/job={job_id(job)}")
        elif what == "Job deleted":
            installed.kubectl(*IN_JOBS, "delete", "--wait=false", job_object)
        else:
            suspend(installed, job_object, True)
        assert training.progress.step < STEPS, f"{what} too late"
    return jobs


def suspend(installed: Installed, job_object: str, suspended: bool) -> None:
    patch = json.dumps({"spec": {"suspend": suspended}})
    installed.kubectl(*IN_JOBS, "patch", job_object, f"--patch={patch}")


def test_a_job_whose_kubernetes_job_is_suspended_waits_until_it_is_let_go(
    installed: Installed, witness: Witness, disturbed: dict[str, v1.TrainingJob]
) -> None:
    job = disturbed["Job suspended"]
    told = wait_for(witness.client, job.name, waits_for(v1.STATE_REASON_SUSPENDED))
    assert "spec.suspend" in told.state_message
    eventually("its pod to be gone", lambda: not installed.objects("pods", job_id(job)))
    assert len(witness.client.get_job(job.name).launches) == 1
    suspend(installed, f"job/loramill-{job_id(job)}-1", False)
    witness.trained(job.name, launches=2)


@pytest.mark.parametrize("what", ["pod deleted", "Job deleted"])
def test_a_job_goes_on_from_the_checkpoint_of_what_was_deleted(
    witness: Witness, disturbed: dict[str, v1.TrainingJob], what: str
) -> None:
    job = witness.trained(disturbed[what].name, launches=2)
    assert job.launches[0].exit_code == v1.EXIT_CODE_PREEMPTED
    assert "checkpoint" in job.launches[0].message


@contextmanager
def no_node_takes_pods(installed: Installed) -> Iterator[None]:
    nodes = installed.kubectl("get", "nodes", "-o", "name").split()
    installed.kubectl("cordon", *nodes)
    try:
        yield
    finally:
        installed.kubectl("uncordon", *nodes)


def test_a_kubernetes_job_that_is_deleted_before_its_run_begins_is_made_again(
    installed: Installed, witness: Witness, dataset: str
) -> None:
    with no_node_takes_pods(installed):
        job = witness.client.create_job(job_spec(dataset, compute_class=ANYWHERE))
        [made] = eventually("the Kubernetes Job", lambda: installed.objects("jobs", job_id(job)))
        wait_for(witness.client, job.name, waits_for(v1.STATE_REASON_UNSCHEDULABLE))
        installed.kubectl(*IN_JOBS, "delete", "job", made["metadata"]["name"])
        uid = made["metadata"]["uid"]
        eventually(
            "another Kubernetes Job",
            lambda: any(found["metadata"]["uid"] != uid for found in installed.objects("jobs", job_id(job))),
        )
    witness.trained(job.name)


def test_a_kubernetes_job_that_is_gone_before_the_service_saw_its_end_is_not_missed(
    installed: Installed, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pictures = draw_pictures(tmp_path_factory.mktemp("pictures"))
    with private_service(installed, tmp_path) as private, census(installed, private.namespace) as taken:
        with private.client() as client:
            dataset = client.upload_dataset(pictures).name
            job = client.create_job(job_spec(dataset, compute_class=ANYWHERE))
            eventually("the Kubernetes Job", lambda: private.objects("jobs", job_id(job)))
        private.kill()
        done = ("wait", "--for=condition=Complete", "--timeout=120s", "jobs", "--all")
        installed.kubectl("--namespace", private.namespace, *done)
        installed.kubectl("--namespace", private.namespace, "delete", "jobs", "--all", "--cascade=foreground")
        private.start()
        with private.client() as client:
            Witness(client, private.store, private.tenant, taken).trained(job.name)


def test_a_job_whose_node_is_removed_goes_on_on_another_and_the_zombie_ends_itself(
    installed: Installed, witness: Witness, dataset: str
) -> None:
    spec = job_spec(dataset, steps=ENDLESS, compute_class=ANYWHERE)
    installed.kubectl("cordon", "node1")
    try:
        job = witness.client.create_job(spec)
        wait_for(witness.client, job.name, trains)
    finally:
        installed.kubectl("uncordon", "node1")
    with faults.node_removed(NODE2):
        assert processes_of(job, launch=1)
        again = wait_for(witness.client, job.name, lambda job: len(job.launches) == 2 and trains(job), 240)
        assert again.launches[0].message
        eventually("the zombie to end itself", lambda: not processes_of(job, launch=1))
        witness.client.cancel_job(job.name)
        ended = witness.ended(job.name)
    assert ended.state == v1.TRAINING_JOB_STATE_CANCELLED
    assert list(ended.adapters) == [f"adapters/{job_id(job)}-final"]  # what both runs have learnt


def processes_of(job: v1.TrainingJob, launch: int) -> list[int]:
    """The trainers of a launch on this machine, which all nodes share."""
    assignment = f"/{job_id(job)}/control/launches/{launch:06d}.json".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ends just now
            command = (process / "cmdline").read_bytes()
            if b"trainer" in command and assignment in command:
                found.append(int(process.name))
    return found
