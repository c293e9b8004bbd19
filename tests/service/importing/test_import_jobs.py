"""Imports as Jobs of a cluster: what they look like, and what is seen of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from loramill import v1
from service.executors.import_jobs import ImportJobs
from service.import_job_settings import ImportJobSettings
from service.import_manifest import ImportId, render_import_job
from service.importing.__main__ import settings_of
from service.importing.launching import Seen
from service.importing.sources import ObjectSource
from service.kubernetes_api import JOBS
from service.kubernetes_names import launch_of_labels
from service.kubernetes_syntax import is_dns_label, is_label_value
from service.pod_settings import PodSettings
from tests.service.runtime.fake_cluster import NAMESPACE, FakeCluster

IMAGE = "registry.example/loramill/service@sha256:" + "0123456789abcdef" * 4
POD = PodSettings.model_validate(
    {
        "namespace": NAMESPACE,
        "image": IMAGE,
        "s3": {
            "endpoint_url": "https://s3.example:9000",
            "region": "eu-1",
            "ca_bundle": {"config_map": "store-ca", "key": "ca.pem"},
        },
    }
)
SETTINGS = ImportJobSettings.model_validate(
    {
        "image": IMAGE,
        "image_pull_secrets": ["registry"],
        "storage_secret": "loramill-imports",
        "hub": {"token": {"secret": "hub-token"}},
        "buckets": ["s3://models/bases/"],
        "node_selector": {"example.com/egress": "yes"},
    }
)
STORE = "s3://bucket/prefix/"
GOLDEN = Path(__file__).parent / "golden/import-job.yaml"
REQUEST = v1.ImportBaseModelRequest(base_model_id="mine", source_uri="hf://art/base")


def job(base: str = "mine", number: int = 1) -> dict[str, Any]:
    return render_import_job(ImportId(base, number), STORE, SETTINGS, POD)


def test_the_job_looks_as_in_the_golden_file() -> None:
    assert yaml.safe_load(GOLDEN.read_text()) == job()


def test_names_and_labels_hold_for_every_id_and_no_trainers_launch_is_seen_in_them() -> None:
    for base in ("a", "z" * 63, "a-", "0--"):
        found = ImportId(base, 123_456)
        assert is_dns_label(found.name)
        assert all(is_label_value(value) for value in found.labels.values())
        assert launch_of_labels(found.labels) is None
    assert ImportId("a", 1).name != ImportId("b", 1).name


def test_the_pod_is_restricted_and_holds_no_secret_itself() -> None:
    pod = job()["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (pod["automountServiceAccountToken"], pod["securityContext"]["runAsNonRoot"]) == (False, True)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    (token,) = [entry for entry in container["env"] if entry["name"] == "HF_TOKEN"]
    assert token["valueFrom"] == {"secretKeyRef": {"name": "hub-token", "key": "token"}}


def test_what_is_written_into_the_pod_is_what_the_process_reads() -> None:
    (container,) = job()["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry.get("value", "secret") for entry in container["env"]}
    settings = settings_of(environment)
    assert (settings.hub_endpoint, settings.hub_token) == ("https://huggingface.co", "secret")
    assert settings.buckets == (ObjectSource("models", "bases"),) == SETTINGS.allowed.buckets
    assert settings.largest == SETTINGS.largest_bytes
    assert settings.folders == ()
    assert container["args"] == [STORE, "mine", "1"]


@pytest.mark.parametrize(
    "change", [{"image": "x:latest"}, {"buckets": ["file:///x"]}, {"hub": {"endpoint": "ftp://x"}}, {"command": ["sh"]}]
)
def test_what_the_operator_cannot_say(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ImportJobSettings.model_validate({"image": IMAGE, **change})


def test_an_import_is_made_once_and_what_keeps_it_is_told(tmp_path: Path) -> None:
    cluster = FakeCluster()
    with cluster.serving(tmp_path) as api:
        jobs = ImportJobs(api, STORE, SETTINGS, POD)
        assert jobs.observe("mine", 1, REQUEST) == Seen(alive=None)
        jobs.start("mine", 1, REQUEST)
        jobs.start("mine", 1, REQUEST)
        name = ImportId("mine", 1).name
        assert [found["metadata"]["name"] for found in api.list(JOBS, NAMESPACE).items] == [name]
        assert json.dumps(api.get(JOBS, NAMESPACE, name)).count("hub-token") == 1
        seen = jobs.observe("mine", 1, REQUEST)
        assert (seen.alive, bool(seen.message)) == (True, True)
