"""Whole jobs whose concept is of kind AUTO: measured before training, once, and trained by what was found."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from google.protobuf.json_format import MessageToJson

from loramill import v1
from store import open_store
from store.records import read_record
from tests.trainer.concepts.effort import SMALL
from tests.trainer.jobs import SETTINGS, Job, Jobs, terminate_once_asked_about
from trainer.concepts import deciding
from trainer.concepts.deciding import KEY

SHORT: dict[str, object] = {
    "optimization": {"steps": 2},
    "checkpoints": {"every_steps": 1},
    "previews": {"inference_steps": 1, "prompts": []},
}
AUTO: dict[str, object] = {**SHORT, "concept": {"kind": "CONCEPT_KIND_AUTO", "activation_tag": ""}}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "QUICK", SMALL)


def decision(job: Job) -> v1.ConceptDecision:
    found = read_record(open_store(job.assignment.line_uri), KEY, v1.ConceptDecision)
    assert found is not None
    return found


@dataclass(frozen=True)
class Undisturbed:
    """A job that decided and trained in one go."""

    job: Job
    decision: v1.ConceptDecision


@pytest.fixture(scope="module")
def undisturbed(jobs: Jobs) -> Undisturbed:
    job = jobs.new("auto", AUTO)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deciding, "QUICK", SMALL)
        assert job.run() == 0
    return Undisturbed(job, decision(job))


def test_it_is_measured_decided_and_told(undisturbed: Undisturbed) -> None:
    job, found = undisturbed.job, undisturbed.decision
    concept, (message,) = found.spec.concept, found.messages
    assert concept.kind == (v1.CONCEPT_KIND_NEW if concept.activation_tag else v1.CONCEPT_KIND_MODIFIED)
    assert concept.activation_tag or concept.class_words
    assert concept.prior_preservation.HasField("enabled")
    assert message.partition(":")[0] in ("NEW", "MODIFIED", "KNOWN")
    page = job.file("report.html").read_text()
    assert "Concept, as the base knew it before training" in page
    logs = "".join(path.read_text() for path in sorted(job.run_folder.glob("logs/*.jsonl")))
    assert json.dumps(message)[1:-1] in logs

    # A later launch trains by the same decision, whatever it would find itself.
    again = job.launched_again()
    (again.run_folder.parent.parent / "line" / KEY).write_text(_otherwise(found))
    assert again.run() == 0
    assert again.adapter().activation_tag == "plon"


def _otherwise(found: v1.ConceptDecision) -> str:
    other = v1.ConceptDecision()
    other.CopyFrom(found)
    other.spec.concept.kind, other.spec.concept.activation_tag = v1.CONCEPT_KIND_NEW, "plon"
    return MessageToJson(other)


def test_killed_while_and_after_it_decides_a_job_comes_to_the_same_adapter(
    jobs: Jobs, undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.new("killed deciding", AUTO, caches="caches of killed deciding")
    killed = subprocess.run(
        [sys.executable, "-m", "tests.trainer.concepts.killed_deciding", job.uri],
        cwd=Path(__file__).parents[3],
        env={**os.environ, **SETTINGS, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.stdout.split() == ["-9", "-9"], killed.stderr
    assert not job.checkpoints()
    found, first = decision(job), undisturbed.decision
    assert (found.spec, found.messages) == (first.spec, first.messages), (
        "decided again with what the dead one had cached"
    )

    def measured_again(*_: object) -> NoReturn:
        raise AssertionError("what is decided is not measured again")

    monkeypatch.setattr(deciding, "_measured", measured_again)
    with monkeypatch.context() as patch:
        terminate_once_asked_about(patch, step=1)
        assert job.run() == v1.EXIT_CODE_PREEMPTED
    shutil.rmtree(job.folder.parent / "caches of killed deciding")
    again = job.launched_again()
    assert again.run() == 0
    assert decision(again) == found
    assert again.adapter().tensors_sha256 == undisturbed.job.adapter().tensors_sha256
    weights = (v1.ADAPTER_FORMAT_KOHYA, v1.ADAPTER_FORMAT_DIFFUSERS)
    files, expected = [
        [file.sha256 for file in one.adapter().files if file.format in weights] for one in (again, undisturbed.job)
    ]
    assert files == expected


def test_what_is_given_stays(jobs: Jobs) -> None:
    prior = {"enabled": False}
    given = jobs.new("given", {**SHORT, "concept": {"kind": "CONCEPT_KIND_AUTO", "prior_preservation": prior}})
    assert given.run() == 0
    assert decision(given).spec.concept.activation_tag == "lumi"
    assert not decision(given).spec.concept.prior_preservation.enabled
