"""Jobs that do not train, on a node of the cluster: what they have made is fetched through the service."""

from __future__ import annotations

import json
from pathlib import Path

from loramill import v1
from loramill.client import Client
from tests.cluster.training import finished, job_spec


def test_a_dataset_is_reported_on_without_training(client: Client, dataset: str) -> None:
    spec = v1.TrainingSpec(base_model="baseModels/shapes", compute_class="gpu")
    spec.dataset.dataset = dataset
    job = finished(client, client.create_dataset_report(spec).name)
    assert job.state == v1.TRAINING_JOB_STATE_SUCCEEDED, job.state_message
    report, content = client.dataset_report(dataset, v1.DATASET_REPORT_FORMAT_JSON)
    assert report.training_job == job.name
    assert len(json.loads(content)["pictures"]) == 4


def test_a_concept_is_measured_without_training(client: Client, dataset: str, tmp_path: Path) -> None:
    job = finished(client, client.analyze_concept(job_spec(dataset)).name)
    assert job.state == v1.TRAINING_JOB_STATE_SUCCEEDED, job.state_message
    (found,) = (file.path for file in job.results if file.path.endswith(".json"))
    analysis = json.loads(client.save_result(job.name, found, tmp_path).read_text())
    assert job.state_message.startswith(f"{analysis['verdict']}: ")
