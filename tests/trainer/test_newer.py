"""An older trainer among assignments of a newer service: it does what it knows, and refuses what it would do by half."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loramill import v1
from store.files import FileStore
from store.records import put_record, read_record
from trainer.assignment import do_assignment
from trainer.newer import lacking, told
from trainer.stopping import StopSignal


@pytest.mark.parametrize(
    ("spec", "sources", "needed"),
    [
        ({"newRate": 1.0}, {"new_rate": "default"}, []),
        ({"newRate": 1.0}, {"new_rate": "given"}, ["new_rate"]),
        ({"newRate": 1.0}, {"new_rate": "preset sd15/lora/style (somewhere)"}, ["new_rate"]),
        ({"newRate": 1.0}, {}, ["new_rate"]),
        (
            {"textEncoder3": {"train": False, "rate": 1}},
            {"text_encoder_3.rate": "default"},
            [],
        ),
        ({"textEncoder3": {"train": True}}, {"text_encoder_3.train": "given"}, ["text_encoder3"]),
        ({"loss": {"huber2": 1}}, {"loss.huber2": "default"}, []),
        ({"loss": {"huber2": 1}}, {"loss.huber2": "dataset"}, ["loss.huber2"]),
        ({"dataset": {"subsets": [{"weight2": 1}]}}, {"dataset.subsets": "given"}, ["dataset.subsets.weight2"]),
        ({"optimization": {"optimizer": "OPTIMIZER_LATER"}}, {}, ["spec.optimization.optimizer (OPTIMIZER_LATER)"]),
        ({"displayName": "x"}, {}, []),
    ],
)
def test_what_an_assignment_needs(spec: dict[str, Any], sources: dict[str, str], needed: list[str]) -> None:
    assignment = v1.Assignment()
    for field, source in sources.items():
        assignment.spec.sources.add(field=field, source=source)
    content = {"spec": spec, "baseModel": {"later": 1}, "later": {"x": 1}}
    assert lacking(content, assignment) == needed
    assert len(list(told(needed))) == bool(needed)


def assigned(folder: Path, **changes: Any) -> str:
    """An assignment as a newer service may write it; its address."""
    root = f"{folder.as_uri()}/"
    assignment = v1.Assignment(
        training_job=f"trainingJobs/{'0' * 15}j",
        launch=1,
        control_uri=f"{root}control/",
        runs_uri=f"{root}runs/",
        run_uri=f"{root}runs/1/",
        line_uri=f"{root}line/",
        cache_uri=f"{root}caches/",
    )
    put_record(FileStore(folder), "control/launches/000001.json", assignment, changes)
    return f"{root}control/launches/000001.json"


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"spec": {"newRate": 1.0}}, "new_rate"),
        ({"kind": "JOB_KIND_LATER"}, "kind (JOB_KIND_LATER)"),
    ],
)
def test_what_it_does_not_know_is_refused_in_one_sentence_for_the_caller(
    tmp_path: Path, changes: dict[str, Any], names: str
) -> None:
    assert do_assignment(assigned(tmp_path, **changes), StopSignal()) == v1.EXIT_CODE_OUTDATED
    end = read_record(FileStore(tmp_path), "runs/1/end.json", v1.End)
    assert end is not None
    assert end.exit_code == v1.EXIT_CODE_OUTDATED
    assert end.message.startswith(f"The job needs {names}, which this version of the trainer does not know")
    # As a number, which a service that does not know the word still tells from success.
    assert json.loads((tmp_path / "runs/1/end.json").read_text())["exitCode"] == v1.EXIT_CODE_OUTDATED


def test_a_layout_that_it_would_misread_is_refused_before_anything_is_claimed(tmp_path: Path) -> None:
    assert do_assignment(assigned(tmp_path, schemaVersion=2), StopSignal()) == v1.EXIT_CODE_OUTDATED
    assert not (tmp_path / "runs").exists()
