"""Resume is rerun: stop a job anywhere, start it again, and the adapter is the same to the bit."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from loramill import v1
from tests.trainer.assignments import CREATED
from tests.trainer.jobs import SETTINGS, Job, Jobs, terminate_once_asked_about

STEPS = 30
SPEC: dict[str, object] = {
    "adapter": {"dropout": 0.1},
    "optimization": {"steps": STEPS, "batch_size": 1},
    "checkpoints": {"every_steps": 3},
    "previews": {"inference_steps": 2},
}


@pytest.fixture(scope="module")
def uninterrupted(jobs: Jobs) -> Job:
    job = jobs.new("uninterrupted", SPEC)
    assert job.run() == 0
    return job


def weights(job: Job) -> dict[int, str]:
    """SHA-256 of the adapter's files by format."""
    formats = (v1.ADAPTER_FORMAT_KOHYA, v1.ADAPTER_FORMAT_DIFFUSERS)
    return {file.format: file.sha256 for file in job.adapter().files if file.format in formats}


def contact_sheet(job: Job) -> str:
    (found,) = (file.sha256 for file in job.adapter().files if file.format == v1.ADAPTER_FORMAT_CONTACT_SHEET)
    return found


def kill_after_first_checkpoint(job: Job, said: Path) -> None:
    """Runs the launch in a process of its own and ends that with SIGKILL; `said` is for what it writes to its standard error."""
    with said.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.trainer.halted", job.uri],
            cwd=Path(__file__).parents[2],
            env={**os.environ, **SETTINGS, "OMP_NUM_THREADS": "1"},
            stderr=output,
        )
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        halted = os.WIFSTOPPED(status)
        assert halted, f"the trainer came to no checkpoint ({os.waitstatus_to_exitcode(status)}): {said.read_text()}"
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert job.checkpoints() == ["000-0000003"]


@pytest.mark.timeout(600)
def test_killed_and_started_again_gives_the_same_files(jobs: Jobs, uninterrupted: Job, tmp_path: Path) -> None:
    job = jobs.new("killed", SPEC)
    kill_after_first_checkpoint(job, tmp_path / "said")
    assert not (job.run_folder / "end.json").exists()
    assert not job.adapters()
    (stale,) = job.run_folder.glob("claim.json")

    assert job.run() == 0
    assert '"step": 3, "event": "resumed"' in job.log()
    assert stale.exists(), "the dead process's claim stays; another one follows it"
    assert weights(job) == weights(uninterrupted)
    assert job.end.step == STEPS
    steps = {step for chunk in job.metric_chunks() for step in chunk}
    assert steps == set(range(1, STEPS + 1))


def test_the_next_launch_of_a_preempted_job_goes_on(
    jobs: Jobs, uninterrupted: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another job than `uninterrupted` by its times alone: the tensors are the same, the files tell the two apart."""
    first = jobs.new("preempted", SPEC, created=CREATED + timedelta(days=1))
    monkeypatch.setenv("LORAMILL_TRAINER_REPORT_SECONDS", "1000")
    with monkeypatch.context() as patch:
        terminate_once_asked_about(patch, step=10)
        assert first.run() == v1.EXIT_CODE_PREEMPTED
    assert first.end.exit_code == v1.EXIT_CODE_PREEMPTED
    assert first.end.step == 11
    assert first.checkpoints()[-1] == "000-0000011"
    assert first.run() == v1.EXIT_CODE_PREEMPTED, "a launch that has ended is not done again"

    second = first.launched_again()
    assert second.run() == 0
    assert '"step": 11, "event": "resumed"' in second.log()
    assert second.adapter().tensors_sha256 == uninterrupted.adapter().tensors_sha256
    assert not set(weights(second).values()) & set(weights(uninterrupted).values())
    assert contact_sheet(second) == contact_sheet(uninterrupted), "its first pictures are without the adapter, as ever"
    assert second.end.trained_seconds > first.end.trained_seconds

    chunks = second.metric_chunks()
    assert [step for chunk in chunks for step in chunk] == list(range(1, STEPS + 1)), "every step exactly once"
    assert (second.progress.step, second.progress.steps) == (STEPS, STEPS)


def test_a_resume_on_another_machine_says_so(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    first = jobs.new("moved", {"optimization": {"steps": 4}, "previews": {"inference_steps": 1}})
    with monkeypatch.context() as patch:
        terminate_once_asked_about(patch, step=1)
        assert first.run() == v1.EXIT_CODE_PREEMPTED
    manifest = first.run_folder / "checkpoints" / first.checkpoints()[-1] / "manifest.json"
    manifest.write_text(re.sub(r'("numericFingerprint": )"[^"]*"', r'\1"torch of long ago"', manifest.read_text()))

    second = first.launched_again()
    assert second.run() == 0
    said = "under another numeric fingerprint"
    assert said in second.log()
    assert "torch of long ago" in second.log()
    assert said in second.file("report.html").read_text()
