"""Runs of jobs that do not train: what they leave, and what they leave when they are stopped."""

from __future__ import annotations

import json
import os
import signal

import pytest

from loramill import v1
from store.digests import sha256_of
from tests.trainer.jobs import Job, Jobs, small_dataset
from tests.trainer.tiny_captioners import make_blip
from trainer import report_run
from trainer.assignment import STORIES
from trainer.concepts import analysis
from trainer.concepts.measuring import Effort

OPEN = {"concept": {"activation_tag": ""}, "previews": {"prompts": [{"prompt": "a star"}]}}
"""As a report is made that nobody said anything of a concept for."""


def of_report(jobs: Jobs, name: str) -> Job:
    return jobs.new(name, OPEN, kind=v1.JOB_KIND_DATASET_REPORT)


def check_results(job: Job, *paths: str) -> None:
    assert [file.path for file in job.end.results] == list(paths)
    for file in job.end.results:
        stored = job.run_folder / file.path
        assert (sha256_of(stored), stored.stat().st_size) == (file.sha256, file.size_bytes)


@pytest.fixture(scope="module")
def reported(jobs: Jobs) -> Job:
    """A job that has made its report, uninterrupted."""
    job = of_report(jobs, "report")
    assert job.run() == 0
    return job


def test_a_report_is_made_and_nothing_else(reported: Job) -> None:
    job = reported
    check_results(job, "data-report/report.html", "data-report/report.json", "data-report/report.txt")
    assert "report of 4 pictures is made" in job.end.message
    assert (job.end.step, job.adapters(), job.checkpoints()) == (0, [], [])
    assert job.progress.phase == v1.PHASE_ENDED
    found = json.loads((job.run_folder / "data-report" / "report.json").read_text())
    assert len(found["pictures"]) == 4


def test_an_analysis_is_a_verdict_with_its_settings(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "FULL", Effort(pictures=2, pairs=8, trial_pairs=8))
    change = {**OPEN, "concept": {"activation_tag": "", "class_words": "star"}}
    job = jobs.new("analysis", change, kind=v1.JOB_KIND_CONCEPT_ANALYSIS)
    assert job.run() == 0
    check_results(job, "concept-analysis/analysis.json", "concept-analysis/analysis.html")
    found = json.loads((job.run_folder / "concept-analysis" / "analysis.json").read_text())
    assert found["verdict"] in {"NEW", "MODIFIED", "KNOWN"}
    assert found["sentence"] == job.end.message
    assert found["settings"]["concept"]
    assert (job.end.step, job.adapters()) == (0, [])


def test_a_run_after_one_that_was_killed_makes_the_same_report(
    jobs: Jobs, reported: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = of_report(jobs, "killed")

    def die(*_: object) -> None:
        raise KeyboardInterrupt  # no error that a run would end with a word for

    monkeypatch.setattr(report_run, "store", die)
    with pytest.raises(KeyboardInterrupt):
        job.run()
    monkeypatch.undo()
    again = job.launched_again()
    assert again.run() == 0
    assert [file.sha256 for file in again.end.results] == [file.sha256 for file in reported.end.results]


@pytest.mark.parametrize(("cancelled", "exit_code"), [(False, v1.EXIT_CODE_PREEMPTED), (True, v1.EXIT_CODE_CANCELLED)])
def test_a_run_that_is_stopped_commits_nothing(
    cancelled: bool, exit_code: int, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = of_report(jobs, f"stopped report {cancelled}")
    if cancelled:
        job.cancel()
    store = report_run.store

    def store_and_stop(*arguments: object) -> None:
        store(*arguments)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(report_run, "store", store_and_stop)
    assert job.run() == exit_code
    assert not job.end.results


@pytest.fixture(scope="module")
def captioning(jobs: Jobs, tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    """The jobs, with a captioner and a dataset of three pictures, one of which has a caption and one cannot be read."""
    jobs.place.put_base("blip", make_blip(tmp_path_factory.mktemp("blip")))
    files = small_dataset(3)
    files["2.png"] = files["2.png"][:100]
    jobs.place.put_dataset("bare", {name: content for name, content in files.items() if name not in ("1.txt", "2.txt")})
    return jobs


def of_captions(jobs: Jobs, name: str, prompt: str = "a red") -> Job:
    captioning = v1.CaptioningSpec(prompt=prompt)
    return jobs.new(name, base="blip", dataset="bare", kind=v1.JOB_KIND_CAPTIONING, captioning=captioning)


def test_pictures_without_a_caption_are_captioned(captioning: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    job = of_captions(captioning, "captions")
    assert job.run() == 0
    check_results(job, "captions/captions.jsonl", "captions/captions.html")
    rows = [json.loads(line) for line in (job.run_folder / "captions" / "captions.jsonl").read_text().splitlines()]
    assert [row["path"] for row in rows] == ["1.png"]
    assert rows[0]["caption"].startswith("a red")
    assert "1 of 2 pictures without a caption have one now. 1 could not be read: Picture '2.png'" in job.end.message
    page = (job.run_folder / "captions" / "captions.html").read_text()
    assert rows[0]["caption"] in page
    assert "2.png" in page

    # A run that goes on where another was killed asks the model for nothing again; with another prompt it does.
    asked = list[object]()

    def caption(_: object, pixels: object) -> str:
        asked.append(pixels)
        return "a word"

    monkeypatch.setattr("trainer.captioning._Writer.caption", caption)
    again = job.launched_again()
    assert again.run() == 0
    assert not asked
    assert [file.sha256 for file in again.end.results] == [file.sha256 for file in job.end.results]
    assert of_captions(captioning, "other captions", "a cat").run() == 0
    assert asked


def test_a_dataset_without_a_picture_that_can_be_read_is_named_whole(captioning: Jobs) -> None:
    captioning.place.put_dataset("spoilt", {"1.png": b"no picture", "2.png": b""})
    job = captioning.new("spoilt captions", base="blip", dataset="spoilt", kind=v1.JOB_KIND_CAPTIONING)
    assert job.run() == v1.EXIT_CODE_USER_ERROR
    assert "'1.png'" in job.end.message
    assert "'2.png'" in job.end.message
    assert not job.end.results


def test_every_kind_has_its_story() -> None:
    assert set(STORIES) == set(v1.JobKind.values()) - {v1.JOB_KIND_UNSPECIFIED}
