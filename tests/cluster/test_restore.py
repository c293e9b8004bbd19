"""A backup of the store, taken in the middle of jobs, is put in another place, as docs/operate.md tells: on the cluster that it
comes from, and on one that knows nothing of it."""

from __future__ import annotations

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
from tests.cluster.installed import Installed, Object, eventually
from tests.cluster.private_service import PrivateService, private_service
from tests.cluster.s3_servers import client_of
from tests.cluster.training import draw_pictures, finished, has_step, job_id, job_spec, trains, wait_for, waits_for

CLASS: Object = {"gpus": 0, "cpu": "800m", "memory": "3Gi", "ephemeral_storage": "2Gi"}
LABEL = "loramill.dev/test-restore"
CLASSES = [CLASS | {"name": "cpu"}, CLASS | {"name": "late", "node_selector": {LABEL: "here"}}]
HELD_BACK = v1.STATE_REASON_HELD_BACK
CANCELLED, FAILED, SUCCEEDED = (
    v1.TRAINING_JOB_STATE_CANCELLED,
    v1.TRAINING_JOB_STATE_FAILED,
    v1.TRAINING_JOB_STATE_SUCCEEDED,
)
STEPS = 200
"""Enough to be in the middle when the backup is taken."""
ENDLESS = 20_000


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
            # As docs/operate.md has it: the service is stopped, what trains is deleted, the Jobs stay.
            private.stop()
            in_jobs = ("--namespace", private.namespace)
            installed.kubectl(*in_jobs, "delete", "pods", "-l", "loramill.dev/job")
            yield before
        finally:
            for backup in backups:
                backup.remove()


def live(before: Before, client: Client, dataset: str) -> None:
    """What happens before the backup, and after it."""

    def create(what: str, steps: int, compute_class: str = "cpu") -> str:
        spec = job_spec(dataset, steps=steps, compute_class=compute_class, checkpoint_every=5)
        before.jobs[what] = client.create_job(spec)
        return before.jobs[what].name

    launched = create("launched", 4, "late")
    ended, killed = create("ended", 4), create("killed", ENDLESS)
    assert finished(client, ended).state == SUCCEEDED
    wait_for(client, killed, trains)
    wait_for(client, launched, waits_for(v1.STATE_REASON_UNSCHEDULABLE))
    went_on = create("went on", STEPS)
    before.jobs["went on"] = wait_for(client, went_on, has_step(10))
    for backup in before.backups:
        backup.take(before.private.store)
    begun_later = create("begun later", 4)
    for name in (went_on, begun_later):
        assert finished(client, name).state == SUCCEEDED
    before.learnt = tensors_of(client, went_on)


def tensors_of(client: Client, job: str) -> str:
    [adapter] = client.list_adapters(job=job)
    assert (adapter.step, adapter.partial) == (STEPS, False)
    return adapter.tensors_sha256


@contextmanager
def restored(private: PrivateService, backup: Backup) -> Iterator[Client]:
    """A service on the backup, that holds everything back."""
    private.stop()
    private.configure(compute={"classes": CLASSES}, store=backup.store.uri)
    private.start()
    with private.client() as client:
        eventually("it to notice", lambda: client.get_admission().restored)
        assert client.get_admission().paused
        yield client


def test_on_the_same_cluster_it_notices_by_itself_and_launches_nothing_that_had_finished(
    before: Before, tmp_path: Path
) -> None:
    jobs, private = before.jobs, before.private
    made = names(private.objects("jobs"))
    with restored(private, before.backups[0]) as client:
        assert "the record knows nothing" in client.get_admission().reason
        lost = finished(client, jobs["went on"].name)
        assert (lost.state, lost.state_reason) == (FAILED, v1.STATE_REASON_RECORD_LOST)
        assert "new request_id" in lost.state_message
        killed = wait_for(client, jobs["killed"].name, waits_for(HELD_BACK))
        assert "Nothing is launched until the operator has seen to it" in killed.state_message
        known = {job.name: job.state for job in client.list_jobs()}
        assert jobs["begun later"].name not in known
        assert known[jobs["ended"].name] == SUCCEEDED
        [adapter] = client.list_adapters(job=jobs["ended"].name)
        assert client.download_adapter(adapter.name, tmp_path)
        assert jobs["killed"].name in private.command("operator", "stuck", "-o", "json")
        assert "the store was restored" in private.command("admission", "show")
        assert names(private.objects("jobs")) == made, "nothing was launched"
        private.command("admission", "resume")
        again = wait_for(client, killed.name, lambda job: len(job.launches) == 2 and trains(job))
        assert resumed(client, again)
        for name in (killed.name, jobs["launched"].name):
            client.cancel_job(name)
            assert finished(client, name).state == CANCELLED


def names(objects: list[Object]) -> set[str]:
    return {found["metadata"]["name"] for found in objects}


def resumed(client: Client, job: v1.TrainingJob) -> bool:
    """Whether its second launch went on from a checkpoint."""
    return any('"resumed"' in line for line in client.stream_logs(job.name, launch=2))


def test_on_another_cluster_the_operator_says_so_and_what_had_not_ended_goes_on_to_the_same_bits(
    installed: Installed, before: Before, tmp_path: Path
) -> None:
    jobs, backup = before.jobs, before.backups[1]
    changes = {"compute": {"classes": [CLASS | {"name": "cpu"}, CLASS | {"name": "late"}]}, "store": backup.store.uri}
    with (
        private_service(installed, tmp_path, ("--restored=2026-11-28",), **changes) as private,
        private.client() as client,
    ):
        assert "the store was restored (2026-11-28)" in client.get_admission().reason
        for what in ("went on", "killed", "launched"):
            wait_for(client, jobs[what].name, waits_for(HELD_BACK))
        client.cancel_job(jobs["killed"].name)  # whoever does not want it again
        assert finished(client, jobs["killed"].name).state == CANCELLED
        assert not private.objects("jobs"), "nothing was launched"
        private.command("admission", "resume")
        went_on, launched = (finished(client, jobs[what].name) for what in ("went on", "launched"))
        assert (went_on.state, launched.state) == (SUCCEEDED, SUCCEEDED), (
            went_on.state_message,
            launched.state_message,
        )
        assert [launch.number for launch in went_on.launches] == [1, 2]
        assert resumed(client, went_on)
        assert tensors_of(client, went_on.name) == before.learnt
    # Nobody has touched the place that the backup was taken of.
    root = TenantKeys(before.private.tenant).job(job_id(jobs["launched"])).runs
    assert not list(before.private.store.list(root))
