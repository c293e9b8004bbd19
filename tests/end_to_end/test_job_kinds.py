"""Jobs that do not train, with real parts from the command line to the trainer: a report, and captions that become a dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loramill import v1
from loramill.cli.main import app
from tests.end_to_end.running import RunningService, wait_until
from tests.trainer.jobs import small_dataset
from tests.trainer.tiny_base import make_tiny_base
from tests.trainer.tiny_captioners import make_tagger


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "tagger").mkdir()
    make_tagger(folder / "tagger")
    make_tiny_base(folder / "tiny")
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[RunningService]:
    running = RunningService(tmp_path_factory.mktemp("loramill") / "data", models, models / "tiny")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def dataset(service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three pictures, one of which has a caption."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, content in small_dataset(3).items():
        if name not in ("1.txt", "2.txt"):
            (folder / name).write_bytes(content)
    return service.client.upload_dataset(folder).name.removeprefix("datasets/")


def command(service: RunningService, *arguments: str) -> str:
    """What it prints to standard output."""
    result = CliRunner().invoke(app, ["--server", service.client.address, *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_captions_become_a_dataset(service: RunningService, dataset: str, models: Path, tmp_path: Path) -> None:
    service.client.import_base("tagger", (models / "tagger").as_uri())
    told = command(
        service, "dataset", "caption", dataset, "--with", "tagger", "--threshold", "0.6", "--out", str(tmp_path)
    )
    rows = [json.loads(line) for line in (tmp_path / "captions.jsonl").read_text().splitlines()]
    assert [(row["path"], row["caption"]) for row in rows] == [("1.png", "cat, long hair"), ("2.png", "cat, long hair")]
    job = told.split()[3]
    (tmp_path / "captions.jsonl").write_text(json.dumps({"path": "1.png", "caption": "a blot"}) + "\n")
    edited = ["--captions", str(tmp_path / "captions.jsonl"), "-o", "name"]
    new = command(service, "dataset", "captioned", job, *edited).strip()
    assert service.client.get_dataset(new).file_count == 5


def test_a_report_outlives_its_trainer_and_the_service(service: RunningService, dataset: str) -> None:
    spec = v1.TrainingSpec(base_model="baseModels/shapes")
    spec.dataset.dataset = f"datasets/{dataset}"
    spec.dataset.subsets.add().captions.source = v1.CAPTION_SOURCE_FILE_OR_FIXED
    job = service.client.create_dataset_report(spec).name.removeprefix("trainingJobs/")
    wait_until("a trainer", lambda: service.client.get_job(job).state == v1.TRAINING_JOB_STATE_RUNNING)
    service.kill_trainer(job, 1)
    service.restart()
    ended = service.finished(job)
    assert ended.state == v1.TRAINING_JOB_STATE_SUCCEEDED, ended.state_message
    assert len(ended.launches) == 2
    shown = command(service, "dataset", "report", dataset, "--format", "json")
    assert len(json.loads(shown)["pictures"]) == 3
