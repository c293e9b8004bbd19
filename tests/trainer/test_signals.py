"""SIGTERM at any moment: the run ends at once with the exit code of a stopped one, and what it has learnt is kept."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from loramill import v1
from store.files import FileStore
from tests.trainer.jobs import SETTINGS, Job, Jobs
from trainer import events, loop, preparation, resuming, run

SPEC: dict[str, object] = {
    "optimization": {"steps": 4},
    "previews": {"inference_steps": 1, "every_steps": 2},
    "checkpoints": {"every_steps": 3},
}


@dataclass(frozen=True)
class Moment:
    """When the signal comes: in a call of this function."""

    owner: object
    name: str
    call: int
    """Which one, from 1."""
    kept: int = 0
    """Steps of which the state is kept."""
    finishes: bool = False
    """Whether the call may come to its end: an optimizer step does."""


MOMENTS = {
    "fetching": Moment(FileStore, "fetch", call=3),
    "fetching the base": Moment(preparation, "fetch_base", call=1),
    "loading": Moment(run, "load_base", call=1),
    "encoding": Moment(preparation, "encode_examples", call=1),
    "looking for a checkpoint": Moment(resuming.checkpoint, "choose", call=1),
    "previews before training": Moment(events, "draw_previews", call=1),
    "an optimizer step": Moment(loop, "training_batch", call=2, kept=2, finishes=True),
    "the last optimizer step": Moment(loop, "training_batch", call=4, kept=4, finishes=True),
    "previews between steps": Moment(events, "draw_previews", call=2, kept=2),
    "previews after training": Moment(events, "draw_previews", call=3, kept=4),
    "saving": Moment(events, "write_report", call=1, kept=4),
}


@pytest.fixture(params=MOMENTS.values(), ids=MOMENTS)
def moment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Moment:
    """The process is told to stop at this moment, once."""
    at: Moment = request.param
    called, calls = getattr(at.owner, at.name), 0

    def signalled(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == at.call:
            os.kill(os.getpid(), signal.SIGTERM)
            assert at.finishes, "it was not interrupted"
        return called(*arguments, **options)

    monkeypatch.setattr(at.owner, at.name, signalled)
    return at


def name_of(moment: Moment) -> str:
    return next(name for name, each in MOMENTS.items() if each is moment)


@pytest.fixture(scope="module")
def uninterrupted(jobs: Jobs) -> Job:
    job = jobs.new("never signalled", SPEC)
    assert job.run() == 0
    return job


def test_preempted_it_keeps_a_checkpoint_and_the_next_launch_ends_alike(
    moment: Moment, jobs: Jobs, uninterrupted: Job
) -> None:
    job = jobs.new(f"signalled in {name_of(moment)}", SPEC)
    assert job.run() == v1.EXIT_CODE_PREEMPTED
    assert job.end.exit_code == v1.EXIT_CODE_PREEMPTED
    assert job.end.step == moment.kept
    assert job.checkpoints()[-1:] == ([f"000-{moment.kept:07d}"] if moment.kept else [])
    assert not job.adapters()
    if moment.kept:
        again = job.launched_again()
        assert again.run() == 0
        assert f'"step": {moment.kept}, "event": "resumed"' in again.log()
        assert again.adapter().tensors_sha256 == uninterrupted.adapter().tensors_sha256
        assert [step for chunk in again.metric_chunks() for step in chunk] == [1, 2, 3, 4]


def test_cancelled_it_keeps_a_partial_adapter(moment: Moment, jobs: Jobs) -> None:
    job = jobs.new(f"cancelled in {name_of(moment)}", SPEC)
    job.cancel()
    assert job.run() == v1.EXIT_CODE_CANCELLED
    assert job.end.step == moment.kept
    assert job.adapters() == (["final"] if moment.kept else [])
    if moment.kept:
        assert (job.adapter().partial, job.adapter().step) == (True, moment.kept)


@pytest.mark.parametrize(("library", "claimed"), [("pydantic_settings", False), ("torch", True)])
def test_signalled_while_it_loads_its_libraries(library: str, claimed: bool, jobs: Jobs, tmp_path: Path) -> None:
    """In a process of its own, where `library` is one that sends the signal and then takes for ever to load."""
    (tmp_path / f"{library}.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(100)\n"
    )
    job = jobs.new(f"signalled in {library}", SPEC)
    ended = subprocess.run(
        [sys.executable, "-m", "trainer", job.uri],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **SETTINGS, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == v1.EXIT_CODE_PREEMPTED, ended.stderr
    assert "Traceback" not in ended.stderr
    assert (job.run_folder / "claim.json").exists() == claimed
    assert (job.run_folder / "end.json").exists() == claimed


def test_cancelled_while_a_run_that_goes_on_draws_it_keeps_what_an_earlier_one_has_learnt(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.new("cancelled going on", SPEC)
    train = loop.training_batch
    monkeypatch.setattr(loop, "training_batch", lambda *given: os.kill(os.getpid(), signal.SIGTERM) or train(*given))
    assert job.run() == v1.EXIT_CODE_PREEMPTED
    shutil.rmtree(job.run_folder / "previews")  # else they are read back instead of being drawn

    again = job.launched_again()
    again.cancel()
    monkeypatch.setattr(events, "draw_previews", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert again.run() == v1.EXIT_CODE_CANCELLED
    assert (again.adapter().partial, again.adapter().step) == (True, 1)
