"""What an operator may say of a compute class, and how each fault is told."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from service.compute_classes import ComputeClass, ComputeClasses
from service.pod_settings import PodSettings

CLASS: dict[str, Any] = {"name": "a10", "gpus": 1, "gpu_memory_gib": 24, "cpu": 4, "memory": "16Gi"}
IMAGE = "registry.example/trainer@sha256:" + "a" * 64


def faults(
    model: type[ComputeClass] | type[ComputeClasses] | type[PodSettings], fields: dict[str, Any]
) -> dict[str, str]:
    """What is said, by place."""
    with pytest.raises(ValidationError) as error:
        model.model_validate(fields)
    return {".".join(map(str, fault["loc"])): fault["msg"] for fault in error.value.errors()}


def test_a_class_in_few_words() -> None:
    offered = ComputeClass.model_validate(CLASS)
    assert (offered.cpu, offered.grace_seconds, offered.gpu_resource) == ("4", 30, "nvidia.com/gpu")
    assert ComputeClass.model_validate(CLASS | {"spot": True}).grace_seconds == 25


def test_every_fault_of_a_class_at_once() -> None:
    found = faults(
        ComputeClass,
        {
            "name": "A10",
            "gpus": 0,
            "gpu_memory_gib": 24,
            "cpu": "four",
            "memory": "16GB",
            "node_affinity": [{"key": "a/b", "operator": "Gt", "values": ["x"]}],
            "tolerations": [{"key": "a", "value": "b"}],
            "priority": 1,
        },
    )
    assert found.keys() == {
        "name",
        "gpu_memory_gib",
        "cpu",
        "memory",
        "node_affinity.0.values",
        "tolerations.0.value",
        "priority",
    }
    assert "must be CPUs above 0, such as 4, 0.5 or 500m" in found["cpu"]


FAULTS = [
    # field, values that are taken, values that are not
    ("name", ["a", "a-1", "a" * 63], ["", "-a", "a-", "a.b", "A", "a" * 64, "ä"]),
    ("gpus", [0, 16], [-1, 17, "many"]),
    ("gpu_resource", ["amd.com/gpu"], ["gpu", "kubernetes.io/gpu", "requests.nvidia.com/gpu", "a b/c"]),
    ("cpu", [1, 0.5, "250m", "64"], [0, "0m", "-1", "1Gi", "0.0001", "1e3"]),
    ("memory", ["1Gi", "500M", 1073741824], [0, "1.5Gi", "500m", "1GB", "1gi", "-1Gi"]),
    ("ephemeral_storage", ["100Gi"], ["0", ""]),
    ("shm", ["16Gi"], ["17Gi"]),
    ("node_selector", [{"a.example/b": "c"}, {"a": ""}], [{"a/b/c": "d"}, {"a": "b c"}, {"": "a"}, {"a": "b" * 64}]),
    ("termination_grace_seconds", [1, 110], [0, 111]),
    ("price_per_hour", [0.01], [0, -1, float("inf"), float("nan")]),
    ("priority_class_name", ["low", "a.b"], ["Low", "a..b", "a" * 254]),
    ("runtime_class_name", ["nvidia"], ["n_v"]),
    ("queue_name", ["training"], ["Training"]),
    ("pod_spec", [], [{}]),
]


@pytest.mark.parametrize(("field", "good", "bad"), FAULTS)
def test_fields_of_a_class_have_bounds(field: str, good: list[Any], bad: list[Any]) -> None:
    rest = {name: value for name, value in CLASS.items() if name != "gpu_memory_gib"}
    for value in good:
        ComputeClass.model_validate(rest | {field: value})
    for value in bad:
        assert [place.partition(".")[0] for place in faults(ComputeClass, rest | {field: value})] == [field], value


@pytest.mark.parametrize(
    ("operator", "good", "bad"),
    [
        ("In", ["a", "b"], []),
        ("NotIn", ["a"], []),
        ("Exists", [], ["a"]),
        ("DoesNotExist", [], ["a"]),
        ("Gt", ["1"], ["1", "2"]),
        ("Lt", ["1"], ["a"]),
        ("Lt", ["1"], []),
        ("Gt", [5], ["9" * 19]),
    ],
)
def test_requirements_take_the_values_that_fit_their_operator(operator: str, good: list[Any], bad: list[Any]) -> None:
    requirement = {"key": "example.com/size", "operator": operator}
    ComputeClass.model_validate(CLASS | {"node_affinity": [requirement | {"values": good}]})
    found = faults(ComputeClass, CLASS | {"node_affinity": [requirement | {"values": bad}]})
    assert found.keys() == {"node_affinity.0.values"}
    assert f"with operator {operator}" in found["node_affinity.0.values"]


def test_every_class_has_a_name_of_its_own() -> None:
    found = faults(ComputeClasses, {"classes": [CLASS, CLASS | {"name": "b"}, CLASS]})
    assert "a10 stands more than once" in found["classes"]
    assert faults(ComputeClasses, {"classes": []}).keys() == {"classes"}


SETTINGS_FAULTS = [
    ("image", [IMAGE], ["registry.example/trainer:latest", "trainer", IMAGE[:-1], IMAGE + " "]),
    ("namespace", ["jobs"], ["Jobs", ""]),
    ("s3", [{"endpoint_url": "http://172.30.0.1:7070"}, {"endpoint_url": "https://[fd00::1]:9000/"}], []),
    ("s3", [{"region": "default"}], [{"endpoint_url": "s3.example"}, {"endpoint_url": "https://u:p@s3.example"}]),
    ("s3", [{}], [{"endpoint_url": "https://s3.example/$(X)"}, {"ca_bundle": {"config_map": "ca", "key": "../x/"}}]),
    ("base_models", [{"persistent_volume_claim": "bases"}, {"image": IMAGE}], [{"host_path": "/"}, {"image": "bases"}]),
    ("image_pull_secrets", [["a"]], [["A"]]),
    ("pending_allowance", [600, "P1D"], [599, "P31D"]),
    ("finished_job_retention", [0], [-1]),
    ("env", [], [[{"name": "A", "value": "b"}]]),
]


@pytest.mark.parametrize(("field", "good", "bad"), SETTINGS_FAULTS)
def test_what_all_pods_share_has_bounds(field: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        PodSettings.model_validate({"image": IMAGE} | {field: value})
    for value in bad:
        found = faults(PodSettings, {"image": IMAGE} | {field: value})
        assert {place.partition(".")[0] for place in found} == {field}, value
