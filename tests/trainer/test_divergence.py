"""A run that diverges goes back to its last good state, once, at half the rates; then it fails and says so."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from loramill import v1
from store import open_store
from store.digests import sha256_of
from store.records import read_record
from tests.trainer.assignments import JOB
from tests.trainer.jobs import Job, Jobs
from trainer import divergence, events
from trainer.divergence import FACTOR, WINDOW, DivergenceGuard
from trainer.errors import Diverged
from trainer.resuming import Start
from trainer.story import Story
from trainer.validation import Validation


def told(losses: Sequence[float], before: Iterable[float] = ()) -> int | None:
    """The step at which the guard has enough; None where it has not."""
    guard, step = DivergenceGuard(before), 0
    with suppress(Diverged):
        for step, loss in enumerate(losses, start=1):
            guard.look(step, loss)
        return None
    return step


def test_a_divergence_is_told_with_its_step_and_pictures() -> None:
    guard = DivergenceGuard(GOOD)
    with pytest.raises(Diverged, match=r"has grown to .* at step 40 .*'a.png', 'b.png'\. Lower the learning rate\."):
        guard.look(40, 1000.0, ["a.png", "b.png"])


GOOD = [0.1 + 0.05 * math.sin(step) for step in range(WINDOW)]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        (GOOD * 10, False),
        ([*GOOD, *[0.1 * FACTOR * 0.9] * 100], False),
        ([*GOOD, *[0.1 * FACTOR * 2] * 100], True),
        ([*GOOD, 1000 * 0.1, *GOOD], True),
        ([*GOOD, 20 * 0.1, *GOOD, *GOOD], False),
        ([5.0] * 10, False),
    ],
)
def test_losses_that_have_grown_tenfold_are_a_divergence(losses: list[float], expected: bool) -> None:
    assert (told(losses) is not None) is expected


def test_a_guard_that_is_told_of_the_steps_before_decides_the_same() -> None:
    losses = [*GOOD, *[0.1 * FACTOR * 2] * 40]
    step = told(losses)
    assert step is not None
    assert told(losses[40:], before=losses[:40]) == step - 40 or step <= 40


SPEC: dict[str, object] = {
    "optimization": {"steps": 10, "batch_size": 1, "schedule": "SCHEDULE_CONSTANT", "ema_decay": 0.9},
    "checkpoints": {"every_steps": 2},
    "previews": {"inference_steps": 1},
}


def opened(job: Job) -> v1.Generation | None:
    return read_record(open_store(job.assignment.line_uri), "generations/000001.json", v1.Generation)


def diverge(patch: pytest.MonkeyPatch, job: Job, at: int, *, always: bool = False) -> None:
    """The job's loss is found to have grown at this step: in the first generation only, or in every one."""

    class Guard(DivergenceGuard):
        def look(self, step: int, loss: float, names: Iterable[str] = ()) -> None:
            del loss
            if step == at and (always or opened(job) is None):
                raise Diverged(f"The loss has grown at step {step}; the pictures were {', '.join(names)}.")

    patch.setattr(events, "DivergenceGuard", Guard)


@pytest.mark.parametrize(("at", "from_step"), [(5, 4), (1, 0)])
def test_it_goes_back_to_the_last_good_state_and_on_at_half_the_rate(
    at: int, from_step: int, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.new(f"astray-{at}", SPEC)
    diverge(monkeypatch, job, at)
    assert job.run() == 0
    generation = opened(job)
    assert generation is not None
    assert (generation.from_step, generation.rate_factor) == (from_step, 0.5)
    assert ".png" in generation.message
    kept = job.checkpoints()
    assert [name for name in kept if name.startswith("000")] == [f"000-{step:07d}" for step in range(2, at, 2)]
    assert [name for name in kept if name.startswith("001")] == [
        f"001-{step:07d}" for step in range(from_step + 2, 10, 2)
    ]
    assert generation.message in job.log()
    assert "half its learning rates" in job.file("report.html").read_text()
    chunks = sorted(job.run_folder.glob("metrics/*.json"))
    store = open_store(job.assignment.run_uri)
    read = [read_record(store, f"metrics/{path.name}", v1.MetricChunk) for path in chunks]
    rates = {metric.step: metric.learning_rate for chunk in read if chunk is not None for metric in chunk.metrics}
    assert rates[10] == pytest.approx(0.5e-3)
    if from_step:
        assert rates[from_step] == pytest.approx(1e-3)


def test_a_job_that_is_stopped_after_it_was_taken_back_ends_with_the_same_adapter(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = jobs.new("astray-whole", SPEC)
    diverge(monkeypatch, whole, 5)
    assert whole.run() == 0

    job = jobs.new("astray-stopped", SPEC)
    diverge(monkeypatch, job, 5)
    with monkeypatch.context() as patch:
        commit = events.RunEvents.commit_checkpoint

        def stop_at_8(self: events.RunEvents, step: int, trained_seconds: float) -> None:
            commit(self, step, trained_seconds)
            if step == 8 and self.start.generation.generation == 1:
                self.stop.received = True

        patch.setattr(events.RunEvents, "commit_checkpoint", stop_at_8)
        assert job.run() == v1.EXIT_CODE_PREEMPTED
    again = job.launched_again()
    assert again.run() == 0
    assert again.adapter().tensors_sha256 == whole.adapter().tensors_sha256
    assert "taken back to step 4" in again.file("report.html").read_text()


SAVED: dict[str, object] = {
    **SPEC,
    "checkpoints": {"every_steps": 4},
    "previews": {"inference_steps": 1, "every_steps": 3, "strengths": [0, 1], "strength_prompts": 1},
    "outputs": {"save_every": 3},
}
"""Step 6 is saved and drawn, then given up at step 7, and done again from step 4 on."""


@pytest.fixture(scope="module")
def saved_and_given_up(jobs: Jobs) -> Job:
    job = jobs.new("astray-saved", SAVED)
    with pytest.MonkeyPatch.context() as patch:
        diverge(patch, job, 7)
        assert job.run() == 0
    return job


def test_a_step_that_is_done_again_is_saved_under_a_name_of_its_own(saved_and_given_up: Job) -> None:
    job = saved_and_given_up
    assert job.adapters() == ["000003", "000006", "000006-g1", "000009-g1", "final"]
    given_up, done_again = job.adapter("000006"), job.adapter("000006-g1")
    assert (given_up.step, given_up.generation, done_again.step, done_again.generation) == (6, 0, 6, 1)
    assert given_up.name.endswith("-000006")
    assert done_again.name == f"{given_up.name}-g1"
    assert given_up.tensors_sha256 != done_again.tensors_sha256
    for suffix in job.adapters():
        for file in job.adapter(suffix).files:
            assert sha256_of(job.file(file.file_name, suffix)) == file.sha256, "what was committed stays"
    assert {suffix: job.adapter(suffix).generation for suffix in ("000003", "000009-g1", "final")} == {
        "000003": 0,
        "000009-g1": 1,
        "final": 1,
    }
    page = job.file("report.html").read_text()
    assert [f"promote {JOB}-{suffix}<" in page for suffix in ("000003", "000006", "000006-g1")] == [True, False, True]


def stop_at(patch: pytest.MonkeyPatch, step: int) -> None:
    """The run is told to stop after this step of the second generation, before it draws and saves there."""
    asked = events.RunEvents.wants_measurements

    def ask(self: events.RunEvents, at: int) -> bool:
        self.stop.received |= at == step and self.start.generation.generation == 1
        return asked(self, at)

    patch.setattr(events.RunEvents, "wants_measurements", ask)


def break_when_taken_back(patch: pytest.MonkeyPatch, step: int) -> None:
    """The run ends before the first step of the second generation."""
    go_on = events.RunEvents.go_on

    def go_on_once(self: events.RunEvents, start: Start) -> None:
        go_on(self, start)
        if start.generation.generation == 1:
            assert start.step == step
            raise RuntimeError("a crash")

    patch.setattr(events.RunEvents, "go_on", go_on_once)


@pytest.mark.parametrize(("ends", "step"), [(break_when_taken_back, 4), (stop_at, 6)])
def test_whenever_a_run_ends_that_was_taken_back_the_next_saves_the_same(
    ends: Callable[[pytest.MonkeyPatch, int], None],
    step: int,
    jobs: Jobs,
    saved_and_given_up: Job,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = jobs.new(f"astray-{ends.__name__}-{step}", SAVED)
    diverge(monkeypatch, job, 7)
    with monkeypatch.context() as patch:
        ends(patch, step)
        assert job.run() != 0
    assert job.adapters() == ["000003", "000006"]
    again = job.launched_again()
    assert again.run() == 0
    assert again.adapters() == ["000006-g1", "000009-g1", "final"]
    for suffix in again.adapters():
        files, expected = [
            {file.file_name: file.sha256 for file in one.adapter(suffix).files if file.file_name != "report.html"}
            for one in (again, saved_and_given_up)
        ]
        assert files == expected, "pictures of the line that was given up count as little as its values"


def test_what_was_measured_behind_an_earlier_end_is_not_reported(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line of steps comes to step 7; the second ends at 6, since its validation found nothing better."""
    validation = {"share": 0.25, "every_steps": 2, "patience": 1}
    job = jobs.new("astray-longer", {**SPEC, "checkpoints": {"every_steps": 4}, "validation": validation})
    diverge(monkeypatch, job, 7)
    better, reported = itertools.count(-1, -1), list[int]()
    monkeypatch.setattr(Validation, "measure", lambda *_: float(next(better)) if opened(job) is None else 0.0)
    write = events.write_report

    def write_and_keep(story: Story, *others: Any) -> str:
        reported.extend(metric.step for metric in story.metrics)
        return write(story, *others)

    monkeypatch.setattr(events, "write_report", write_and_keep)
    assert job.run() == 0
    assert job.adapter().step == 6
    assert reported == [1, 2, 3, 4, 5, 6]


def test_the_second_time_it_fails_and_tells_both(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    job = jobs.new("astray-twice", SPEC)
    diverge(monkeypatch, job, 5, always=True)
    assert job.run() == v1.EXIT_CODE_DIVERGED
    assert "The loss has grown at step 5" in job.end.message
    assert "had been taken back to step 4 once already" in job.end.message
    assert not job.adapters()


def test_the_guard_is_the_one_that_runs_use() -> None:
    assert events.DivergenceGuard is divergence.DivergenceGuard
