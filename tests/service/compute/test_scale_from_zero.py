"""Labels that no node has before it is there, and with which no autoscaler brings the first one."""

from __future__ import annotations

from typing import Any

import pytest

from service.compute_classes import ComputeClass
from service.scale_from_zero import unknown_before_a_node
from tests.chart.rendering import CI, values_of


def compute_class(**more: Any) -> ComputeClass:
    return ComputeClass(name="l4", gpus=1, cpu="4", memory="16Gi", **more)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, []),
        ({"node_selector": {"karpenter.sh/capacity-type": "spot"}}, []),
        (
            {
                "node_affinity": [
                    {"key": "karpenter.k8s.aws/instance-gpu-memory", "operator": "Gt", "values": ["80000"]}
                ]
            },
            [],
        ),
        ({"node_selector": {"nvidia.com/gpu.product": "NVIDIA-L4"}}, ["nvidia.com/gpu.product"]),
        (
            {
                "node_selector": {"feature.node.kubernetes.io/pci-10de.present": "true"},
                "node_affinity": [{"key": "nvidia.com/gpu.memory", "operator": "Gt", "values": ["23000"]}],
            },
            ["feature.node.kubernetes.io/pci-10de.present", "nvidia.com/gpu.memory"],
        ),
    ],
)
def test_labels_that_come_too_late_are_named(more: dict[str, Any], told: list[str]) -> None:
    sentences = [*unknown_before_a_node(compute_class(**more))]
    assert len(sentences) == len(told)
    for sentence, key in zip(sentences, told, strict=True):
        assert f"Compute class l4 chooses nodes by the label {key}," in sentence


@pytest.mark.parametrize("name", CI)
def test_no_example_of_the_chart_chooses_by_one(name: str) -> None:
    classes = [ComputeClass.model_validate(each) for each in values_of(name)["operator"]["compute"]["classes"]]
    assert [*(sentence for each in classes for sentence in unknown_before_a_node(each))] == []
