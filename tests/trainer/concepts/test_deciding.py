"""Whole jobs whose concept is of kind AUTO: measured before training, once, and trained by what was found."""

from __future__ import annotations

import json

import pytest
from google.protobuf.json_format import MessageToJson

from loramill import v1
from store import open_store
from store.records import read_record
from tests.trainer.jobs import Job, Jobs
from trainer.concepts import deciding
from trainer.concepts.deciding import KEY
from trainer.concepts.measuring import Effort

SHORT: dict[str, object] = {
    "optimization": {"steps": 2},
    "checkpoints": {"every_steps": 1},
    "previews": {"inference_steps": 1, "prompts": []},
}
AUTO: dict[str, object] = {**SHORT, "concept": {"kind": "CONCEPT_KIND_AUTO", "activation_tag": ""}}
SMALL = Effort(pictures=2, pairs=4, trial_pairs=2)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "QUICK", SMALL)


def decision(job: Job) -> v1.ConceptDecision:
    found = read_record(open_store(job.assignment.line_uri), KEY, v1.ConceptDecision)
    assert found is not None
    return found


def test_it_is_measured_decided_and_told(jobs: Jobs) -> None:
    job = jobs.new("auto", AUTO)
    assert job.run() == 0
    found = decision(job)
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
    found.spec.concept.kind, found.spec.concept.activation_tag = v1.CONCEPT_KIND_NEW, "plon"
    return MessageToJson(found)


def test_what_is_given_stays(jobs: Jobs) -> None:
    prior = {"enabled": False}
    given = jobs.new("given", {**SHORT, "concept": {"kind": "CONCEPT_KIND_AUTO", "prior_preservation": prior}})
    assert given.run() == 0
    assert decision(given).spec.concept.activation_tag == "lumi"
    assert not decision(given).spec.concept.prior_preservation.enabled
