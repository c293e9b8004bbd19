"""A run that is told to stop, or is not needed, leaves what the next one needs and nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from loramill import v1
from store import open_store
from store.records import put_record
from tests.trainer.jobs import Job, Jobs
from trainer import checkpoint, preparation, record, workplace
from trainer.metrics import WORKS, TrainerMetrics


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def terminate_after_checkpoint(patch: pytest.MonkeyPatch) -> None:
    commit = checkpoint.commit

    def commit_and_signal(*arguments: object) -> None:
        commit(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    patch.setattr(checkpoint, "commit", commit_and_signal)


def terminate_while_encoding(patch: pytest.MonkeyPatch) -> None:
    encode = preparation.encode_examples

    def signal_and_encode(*arguments: object, **options: object) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return encode(*arguments, **options)

    patch.setattr(preparation, "encode_examples", signal_and_encode)


def test_a_cancelled_job_keeps_a_partial_adapter(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    registries: list[TrainerMetrics] = []

    class Kept(TrainerMetrics):
        def __init__(self) -> None:
            super().__init__()
            registries.append(self)

    job = jobs.new("cancelled")
    job.cancel()
    monkeypatch.setattr(workplace, "TrainerMetrics", Kept)
    terminate_after_checkpoint(monkeypatch)
    assert job.run() == v1.EXIT_CODE_CANCELLED
    adapter = job.adapter()
    assert adapter.partial
    assert adapter.step == job.end.step == 3
    assert list(job.end.adapters) == [adapter.name.removeprefix("adapters/")]
    assert "partial adapter" in job.end.message
    assert all(job.file(file.file_name).stat().st_size == file.size_bytes for file in adapter.files)

    def sample(name: str) -> float | None:
        return registries[0].registry.get_sample_value(f"loramill_training_{name}")

    assert (sample("steps_total"), sample("images_total")) == (3, 6)
    assert sample("step_seconds_count") == 3
    assert sample("step_seconds_sum") == pytest.approx(job.end.trained_seconds, rel=0.2)
    assert (sample("step"), sample("target_steps")) == (3, job.progress.steps)
    assert sample("checkpoint_stall_seconds_count") == 1
    work = {
        kind: registries[0].registry.get_sample_value("loramill_training_work_seconds_total", {"work": kind})
        for kind in WORKS
    }
    assert all(work[kind] for kind in ("data", "network", "update", "device", "checkpoint")), work
    assert work["save"] == 0


@pytest.mark.parametrize(("cancelled", "exit_code"), [(False, v1.EXIT_CODE_PREEMPTED), (True, v1.EXIT_CODE_CANCELLED)])
def test_stopped_before_the_first_step_there_is_nothing_to_keep(
    cancelled: bool, exit_code: int, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.new(f"stopped early {cancelled}")
    if cancelled:
        job.cancel()
    terminate_while_encoding(monkeypatch)
    assert job.run() == exit_code
    assert "before this run had anything to keep" in job.end.message
    assert not job.checkpoints()
    assert not job.adapters()


def claimed_by_a_living_process(job: Job) -> None:
    holder = record._holder()
    put_record(open_store(job.assignment.run_uri), "claim.json", v1.Claim(schema_version=1, token="x", holder=holder))


def launched_again(job: Job) -> None:
    job.launched_again()


def decided(job: Job) -> None:
    outcome = v1.Outcome(schema_version=1, state=v1.TRAINING_JOB_STATE_FAILED)
    put_record(open_store(job.assignment.control_uri), "outcome.json", outcome)


@pytest.mark.parametrize("happened", [claimed_by_a_living_process, launched_again, decided])
def test_a_run_that_is_not_needed_writes_nothing(happened: Callable[[Job], None], jobs: Jobs) -> None:
    job = jobs.new(f"superseded {happened.__name__}")
    happened(job)
    before = files(job.folder)
    assert job.run() == v1.EXIT_CODE_SUPERSEDED
    assert files(job.folder) == before


def test_a_claim_of_another_host_is_never_taken_over(jobs: Jobs) -> None:
    """Whether that process lives cannot be known from here."""
    job = jobs.new("claimed elsewhere")
    claim = v1.Claim(schema_version=1, token="x", holder="another-host 1 1")
    put_record(open_store(job.assignment.run_uri), "claim.json", claim)
    assert job.run() == v1.EXIT_CODE_SUPERSEDED


def test_a_run_learns_at_its_checkpoint_that_the_job_went_on_without_it(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORAMILL_TRAINER_REPORT_SECONDS", "1000")
    job = jobs.new("zombie")
    commit = checkpoint.commit

    def commit_late(*arguments: object) -> None:
        assert job.metric_chunks() == [[1, 2]], "what a checkpoint is past must be measured for good"
        commit(*arguments)
        job.launched_again()

    monkeypatch.setattr(checkpoint, "commit", commit_late)
    assert job.run() == v1.EXIT_CODE_SUPERSEDED
    assert job.checkpoints() == ["000-0000002"]
    assert not job.adapters()
    assert not (job.run_folder / "end.json").exists(), "only a run that matters has a last word"
