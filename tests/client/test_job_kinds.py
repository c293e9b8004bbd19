"""Commands that have something done other than training, and save what came of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from loramill import v1
from loramill.client import Client
from loramill.errors import DownloadError
from tests.client.conftest import Loramill
from tests.client.fake_service import FakeService

CAPTIONS = [
    {"path": "1.png", "caption": "a cat"},
    {"path": "2.png", "caption": "a dog"},
    {"path": "3.png", "caption": "x"},
]
ANALYSIS = {"verdict": "NEW", "settings": {"concept": {"kind": "new", "activation_tag": "gr2mpy"}}}


def lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def test_an_analysis_is_saved_and_the_settings_are_printed(
    service: FakeService, loramill: Loramill, tmp_path: Path
) -> None:
    service.state.results = {
        "concept-analysis/analysis.json": json.dumps(ANALYSIS).encode(),
        "concept-analysis/analysis.html": b"<p>",
    }
    spec = tmp_path / "spec.yaml"
    spec.write_text("base_model: shapes\ndataset: abc\n")
    done = loramill("concept", "analyze", str(spec), "--set", "concept.class_words=dog", "--out", str(tmp_path / "out"))
    assert done.code == 0
    assert service.state.requests[0].spec.concept.class_words == "dog"
    assert yaml.safe_load(done.out) == ANALYSIS["settings"]
    assert (tmp_path / "out" / "analysis.html").read_bytes() == b"<p>"
    assert "It is done." in done.err


def test_a_job_that_fails_is_told_and_is_exit_code_1(loramill: Loramill) -> None:
    done = loramill("dataset", "caption", "set1", "--with", "blip")
    assert (done.code, done.out) == (1, "")
    assert "Job job1 did not succeed: It cannot be done; do something else." in done.err


def test_a_report_is_made_of_what_is_given(service: FakeService, loramill: Loramill) -> None:
    service.state.results = {"data-report/report.txt": b"text"}
    loramill("dataset", "report", "set1", "--base", "sd15", "--tag", "zyx", "--set", "dataset.resolution=768")
    spec = service.state.requests[0].spec
    assert (spec.base_model, spec.dataset.dataset) == ("baseModels/sd15", "datasets/set1")
    assert (spec.concept.activation_tag, spec.dataset.resolution) == ("zyx", 768)
    assert [subset.captions.source for subset in spec.dataset.subsets] == [v1.CAPTION_SOURCE_FILE_OR_FIXED]
    assert loramill("dataset", "report", "set1", "--tag", "zyx").code == 2


def test_captions_are_saved_and_what_was_changed_is_sent(
    service: FakeService, loramill: Loramill, tmp_path: Path
) -> None:
    service.state.results = {"captions/captions.jsonl": lines(CAPTIONS), "captions/captions.html": b"<p>"}
    done = loramill("dataset", "caption", "set1", "--with", "blip", "--prompt", "a", "--out", str(tmp_path))
    request = service.state.requests[0]
    assert (request.name, request.captioner, request.captioning.prompt) == ("datasets/set1", "baseModels/blip", "a")
    assert not request.captioning.HasField("threshold")
    saved = tmp_path / "captions.jsonl"
    assert done.out == f"loramill dataset captioned job1 --captions {saved}\n"
    saved.write_bytes(lines([CAPTIONS[0], {"path": "2.png", "caption": "a brown dog"}]))
    assert loramill("dataset", "captioned", "job1", "--captions", str(saved)).code == 0
    request = service.state.requests[-1]
    assert request.captioning_job == "trainingJobs/job1"
    assert dict(request.captions) == {"2.png": "a brown dog", "3.png": ""}
    saved.write_text('{"path": 1}\n')
    wrong = loramill("dataset", "captioned", "job1", "--captions", str(saved))
    assert (wrong.code, "line 1: expected" in wrong.err) == (2, True)


def test_results_are_saved_whole_or_not_at_all(service: FakeService, client: Client, tmp_path: Path) -> None:
    service.state.results = {"data-report/report.txt": b"0123456789"}
    job = client.create_dataset_report(v1.TrainingSpec())
    service.state.damage = True
    with pytest.raises(DownloadError, match=r"report.txt arrived damaged"):
        client.save_result(job.name, "data-report/report.txt", tmp_path)
    assert not list(tmp_path.iterdir())
    service.state.damage = False
    path = client.save_result(job.name, "data-report/report.txt", tmp_path)
    assert (path, path.read_bytes()) == (tmp_path / "report.txt", b"0123456789")
    path.write_text("mine")
    with pytest.raises(DownloadError, match="exists with another content"):
        client.save_result(job.name, "data-report/report.txt", tmp_path)


def test_a_hostile_name_is_not_written(service: FakeService, loramill: Loramill, tmp_path: Path) -> None:
    service.state.results = {"a/.bashrc": b"x"}
    loramill("dataset", "report", "set1", "--base", "sd15")
    refused = loramill("job", "results", "job1", "--out", str(tmp_path))
    assert (refused.code, "no plain file name" in refused.err) == (1, True)
    assert not list(tmp_path.iterdir())
