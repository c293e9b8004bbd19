"""Records of this and of every earlier version are read whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict, Parse

from loramill import v1
from service.bounds import violations_of_bounds
from service.facts import read_facts
from service.job import training_job
from service.times import utc_now
from service.verification import deliverables
from store.files import FileStore
from store.records import SCHEMA_VERSION, read_record
from tests.records.golden import FOLDER, filled, kinds, recorded
from trainer.config_reading import read_config
from trainer.newer import lacking

JOBS = sorted(path for path in FOLDER.glob("v*/job"))


@pytest.mark.parametrize("path", recorded(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_nothing_of_an_older_record_is_lost(path: Path) -> None:
    kind = getattr(v1, path.stem)
    message = Parse(path.read_text(), kind())  # strictly: each of its fields and words is still known
    assert read_record(FileStore(path.parent), path.name, kind) == message
    assert MessageToDict(message) == json.loads(path.read_text())


def test_every_kind_of_record_is_kept_for_later_versions() -> None:
    kept = {path.stem for path in (FOLDER / f"v{SCHEMA_VERSION}").glob("*.json")}
    missing = sorted({kind.DESCRIPTOR.name for kind in kinds()} - kept)
    assert not missing, f"keep them with `python -m tests.records.golden`: {missing}"


def test_the_maker_sets_every_field() -> None:
    for kind in kinds():
        message = filled(kind)
        unset = {field.name for field in kind.DESCRIPTOR.fields} - {field.name for field, _ in message.ListFields()}
        assert not unset, kind


@pytest.mark.parametrize("folder", JOBS, ids=lambda path: path.parent.name)
def test_a_job_of_an_older_version_is_shown_as_it_was(folder: Path) -> None:
    store, (job,) = FileStore(folder), [path.name for path in (folder / "local/jobs").iterdir()]
    facts = read_facts(store, "local", job)
    assert facts is not None
    shown = training_job(facts, utc_now())
    assert shown.state == v1.TRAINING_JOB_STATE_SUCCEEDED
    assert shown.adapters == [f"adapters/{job}-final"]
    assert [launch.exit_code for launch in shown.launches] == [0]
    assert shown.launches[0].start_phases
    (final,) = deliverables(store, facts)
    assert (final.whole, final.partial) == (False, False), "its manifest is read; its file is not kept here"


@pytest.mark.parametrize("folder", JOBS, ids=lambda path: path.parent.name)
def test_an_assignment_of_an_older_service_is_understood(folder: Path) -> None:
    (path,) = folder.glob("local/jobs/*/control/launches/000001.json")
    assignment = read_record(FileStore(path.parent), path.name, v1.Assignment)
    assert assignment is not None
    assert lacking(json.loads(path.read_text()), assignment) == []
    config = read_config(assignment)
    assert config.family == "sd15"
    assert not list(violations_of_bounds(assignment.spec, "spec"))
