"""The operator's file: one that is used, and how all that is wrong with one is told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from service.configuration import read_configuration
from service.settings import Unusable

FILE: dict[str, Any] = {
    "store": "s3://bucket/loramill/",
    "trainers": {"image": "registry.example/trainer@sha256:" + "a" * 64},
    "trainer_credentials": {"kind": "assume-role", "role_arn": "arn:aws:iam::123456789012:role/trainer"},
    "compute": {"classes": [{"name": "a10", "gpus": 1, "cpu": 4, "memory": "16Gi"}], "currency": "USD"},
    "tenants": [{"tenant": "team-a", "role": "editor", "service_account": "team-a/trainer"}],
    "authentication": {"service_accounts": {"audience": "loramill"}},
}


def written(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "operator.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_file_that_says_what_must_be_said(tmp_path: Path) -> None:
    configuration = read_configuration(written(tmp_path, FILE))
    assert configuration.compute.names == ("a10",)
    assert configuration.trainers.namespace == "loramill-jobs"


def test_the_installation_begins_with_a_file_that_can_be_used() -> None:
    read_configuration(Path(__file__).parents[3] / "deploy/examples/operator.yaml")


def test_every_fault_is_told_with_its_place_and_value(tmp_path: Path) -> None:
    wrong = {name: part for name, part in FILE.items() if name != "store"} | {
        "compute": {"classes": [{"name": "A10", "gpus": -1, "cpu": "four", "memory": "16Gi"}]},
        "trainers": {"image": "trainer:latest"},
        "colour": "red",
    }
    with pytest.raises(Unusable) as error:
        read_configuration(written(tmp_path, wrong))
    text = str(error.value)
    for part in (
        "store: it must be set",
        "operator.yaml cannot be used: ",
        "compute.classes[0].name is 'A10': must be 1 to 63 lower-case letters",
        "compute.classes[0].gpus is -1: must be greater than or equal to 0",
        "compute.classes[0].cpu is 'four': must be CPUs above 0, such as 4, 0.5 or 500m",
        "trainers.image is 'trainer:latest': must be an image with its digest",
        "colour is 'red': there is no such setting; remove it, or correct its name",
    ):
        assert part in text
    assert "compute.classes: " not in text, "a list with a faulty entry is not too short as well"


@pytest.mark.parametrize("mounted", [True, False])
def test_credentials_are_mounted_where_there_are_some(tmp_path: Path, mounted: bool) -> None:
    words = {"acknowledge": "every-trainer-can-read-and-write-every-tenant"}
    identity = FILE | {"trainer_credentials": {"kind": "workload-identity", **words}}
    right, wrong = (FILE, identity) if mounted else (identity, FILE)
    trainers = {"trainers": {**FILE["trainers"], "mount_credentials": mounted}}
    read_configuration(written(tmp_path, right | trainers))
    with pytest.raises(
        Unusable, match=r"trainers\.mount_credentials must be false where .* is workload-identity, else true"
    ):
        read_configuration(written(tmp_path, wrong | trainers))


def test_no_classes_are_no_cluster(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"compute\.classes"):
        read_configuration(written(tmp_path, FILE | {"compute": {"classes": []}}))


def test_what_is_no_file_or_no_yaml_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="cannot be read"):
        read_configuration(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(Unusable, match="is no YAML"):
        read_configuration(tmp_path / "bad.yaml")
