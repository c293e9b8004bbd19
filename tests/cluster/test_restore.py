"""A backup of the store, taken in the middle of jobs, is put in another place, as docs/operate.md tells: on the cluster that it
comes from, and on one that knows nothing of it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from loramill import v1
from loramill.client import Client
from service.keys import TenantKeys
from store.object_store import NotFound
from store.s3 import S3Store
from tests.cluster.disturbances import signal_container
from tests.cluster.installed import Installed, Object, eventually
from tests.cluster.private_service import PrivateService, private_service
from tests.cluster.s3_servers import client_of
from tests.cluster.training import draw_pictures, finished, job_id, job_spec, wait_for, waits_for

CLASS: Object = {"gpus": 0, "cpu": "800m", "memory": "3Gi", "ephemeral_storage": "2Gi"}
LABEL = "loramill.dev/test-restore"
CLASSES = [CLASS | {"name": "cpu"}, CLASS | {"name": "late", "node_selector": {LABEL: "here"}}]
HELD_BACK = v1.STATE_REASON_HELD_BACK
CANCELLED, FAILED, SUCCEEDED = (
    v1.TRAINING_JOB_STATE_CANCELLED,
    v1.TRAINING_JOB_STATE_FAILED,
    v1.TRAINING_JOB_STATE_SUCCEEDED,
)
STEPS, CHECKPOINT_EVERY = 100, 10
"""Enough to be in the middle when the backup is taken, as soon as there is a checkpoint."""
ENDLESS = 20_000
PATIENCE = 240.0
"""Seconds for a trainer to begin where others run beside it."""


class Backup:
    """All that lay below one prefix of the bucket, object by object, below another."""

    def __init__(self, installed: Installed, prefix: str) -> None:
        self.store = S3Store(installed.description["service"]["bucket"], prefix, client=client_of(installed.s3))

    def take(self, store: S3Store) -> None:
        for entry in list(store.list()):
            try:
                self.store.put_new(entry.key, store.get(entry.key))
            except NotFound:  # replaced by a newer one since it was listed, as an older checkpoint is
                continue

    def remove(self) -> None:
        for entry in list(self.store.list()):
            self.store.delete(entry.key)


@dataclass
class Before:
    """A service that is gone: its place, and its jobs by how they stood when the backup was taken, or what came after it."""

    private: PrivateService
    backups: list[Backup]
    jobs: dict[str, v1.TrainingJob] = field(default_factory=dict)
    learnt: str = ""
    """SHA-256 of the tensors of the job that went on after the backup."""


@pytest.fixture(scope="module")
def before(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Before]:
    pictures = draw_pictures(tmp_path_factory.mktemp("pictures"))
    with private_service(installed, tmp_path_factory.mktemp("private"), compute={"classes": CLASSES}) as private:
        backups = [Backup(installed, f"{private.namespace}-{number}/") for number in (1, 2)]
        before = Before(private, backups)
        try:
            with private.client() as client:
                live(before, client, client.upload_dataset(pictures).name)
            yield before
        finally:
            for backup in backups:
                backup.remove()


def live(before: Before, client: Client, dataset: str) -> None:
    """What happens before the backup, and after it until all is lost."""
    private, jobs = before.private, before.jobs

    def create(what: str, steps: int, compute_class: str = "cpu") -> str:
        spec = job_spec(dataset, steps=steps, compute_class=compute_class, checkpoint_every=CHECKPOINT_EVERY)
        jobs[what] = client.create_job(spec)
        return jobs[what].name

    create("launched", 4, "late")
    ended, killed = create("ended", 4), create("killed", ENDLESS)
    assert finished(client, ended).state == SUCCEEDED
    wait_for(client, killed, lambda _: has_checkpoint(private, jobs["killed"]), PATIENCE)
    [pod] = private.objects("pods", job_id(jobs["killed"]))
    with stopped(pod):  # so that it takes no time from the others
        went_on = create("went on", STEPS)
        wait_for(client, went_on, lambda _: has_checkpoint(private, jobs["went on"]), PATIENCE)
        wait_for(client, jobs["launched"].name, waits_for(v1.STATE_REASON_UNSCHEDULABLE))
        for backup in before.backups:
            backup.take(private.store)
        begun_later = create("begun later", 4, "late")
        wait_for(client, begun_later, waits_for(v1.STATE_REASON_UNSCHEDULABLE))
        assert finished(client, went_on).state == SUCCEEDED
        before.learnt = tensors_of(client, went_on)
    # As docs/operate.md has it: the service is stopped, what trains is deleted, the Jobs stay.
    private.stop()
    in_jobs = ("--namespace", private.namespace)
    private.installed.kubectl(*in_jobs, "delete", "pods", "-l", "loramill.dev/job")


def has_checkpoint(private: PrivateService, job: v1.TrainingJob) -> bool:
    runs = TenantKeys(private.tenant).job(job_id(job)).runs
    return any(
        "/checkpoints/" in entry.key and entry.key.endswith("manifest.json") for entry in private.store.list(runs)
    )


@contextmanager
def stopped(pod: Object) -> Iterator[None]:
    signal_container(pod, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_container(pod, signal.SIGCONT)


def tensors_of(client: Client, job: str) -> str:
    [adapter] = client.list_adapters(job=job)
    assert (adapter.step, adapter.partial) == (STEPS, False)
    return adapter.tensors_sha256


def test_on_the_same_cluster_it_notices_by_itself_and_launches_nothing_that_had_finished(
    before: Before, tmp_path: Path
) -> None:
    jobs, private, backup = before.jobs, before.private, before.backups[0]
    made = names(private.objects("jobs"))
    private.configure(compute={"classes": CLASSES}, store=backup.store.uri)
    private.start()
    with private.client() as client:
        eventually("it to notice", lambda: client.get_admission().restored)
        admission = client.get_admission()
        assert admission.paused
        assert "the record knows nothing" in admission.reason
        assert "the store was restored" in private.command("admission", "show")
        lost = finished(client, jobs["went on"].name)
        assert (lost.state, lost.state_reason) == (FAILED, v1.STATE_REASON_RECORD_LOST)
        assert "new request_id" in lost.state_message
        waiting = [jobs[what].name for what in ("killed", "launched")]
        for name in waiting:
            told = wait_for(client, name, waits_for(HELD_BACK))
            assert "Nothing is launched until the operator has seen to it" in told.state_message
        assert {job.name for job in client.list_jobs()} == {lost.name, jobs["ended"].name, *waiting}
        assert client.get_job(jobs["ended"].name).state == SUCCEEDED
        [adapter] = client.list_adapters(job=jobs["ended"].name)
        assert client.download_adapter(adapter.name, tmp_path)
        stuck = json.loads(private.command("operator", "stuck", "-o", "json"))
        assert {job["name"] for job in stuck} == {*waiting}
        assert names(private.objects("jobs")) == made, "nothing was launched"
        private.command("admission", "resume")
        for name in waiting:
            again = wait_for(client, name, lambda job: len(job.launches) == 2)
            assert again.launches[0].exit_code in (0, v1.EXIT_CODE_PREEMPTED), again.launches[0]
            client.cancel_job(name)
            assert finished(client, name).state == CANCELLED
        assert f"loramill-{job_id(lost)}-2" not in names(private.objects("jobs"))


def names(objects: list[Object]) -> set[str]:
    return {found["metadata"]["name"] for found in objects}


def test_on_another_cluster_the_operator_says_so_and_what_had_not_ended_goes_on_to_the_same_bits(
    installed: Installed, before: Before, tmp_path: Path
) -> None:
    jobs, backup = before.jobs, before.backups[1]
    changes = {"compute": {"classes": CLASSES}, "store": backup.store.uri}
    with (
        private_service(installed, tmp_path, ("--restored=2026-11-28",), **changes) as private,
        private.client() as client,
    ):
        assert "the store was restored (2026-11-28)" in client.get_admission().reason
        for what in ("went on", "killed", "launched"):
            wait_for(client, jobs[what].name, waits_for(HELD_BACK))
        client.cancel_job(jobs["killed"].name)  # nobody wants it any more
        assert finished(client, jobs["killed"].name).state == CANCELLED
        assert not private.objects("jobs"), "nothing was launched"
        private.command("admission", "resume")
        launched = wait_for(client, jobs["launched"].name, waits_for(v1.STATE_REASON_UNSCHEDULABLE))
        assert "The store was moved after launch 1 was recorded" in launched.launches[0].message
        assert len(launched.launches) == 2
        client.cancel_job(launched.name)
        went_on = finished(client, jobs["went on"].name)
        assert (went_on.state, len(went_on.launches)) == (SUCCEEDED, 2), went_on.state_message
        assert any('"resumed"' in line for line in client.stream_logs(went_on.name, launch=2))
        assert tensors_of(client, went_on.name) == before.learnt
