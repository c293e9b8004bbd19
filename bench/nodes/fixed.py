"""Simulated machines that nobody buys and nobody takes away: for measuring what many jobs cost the control plane."""

from __future__ import annotations

from bench.nodes.scenario import CLASS_OF, SIMULATED
from deploy.cluster.autoscaler import CAPACITY_TYPE
from service.kubernetes_api import NODES, KubernetesApi


def make_nodes(api: KubernetesApi, count: int, gpus: int) -> None:
    """Every other one for each capacity type."""
    for number in range(count):
        name = f"simulated-{number:03d}"
        capacity_type = list(CLASS_OF)[number % len(CLASS_OF)]
        amounts = {
            "cpu": str(8 * gpus),
            "memory": f"{32 * gpus}Gi",
            "ephemeral-storage": "2Ti",
            "nvidia.com/gpu": str(gpus),
            "pods": "110",
        }
        api.create(
            NODES,
            "",
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {
                    "name": name,
                    "annotations": {SIMULATED: "fake"},
                    "labels": {CAPACITY_TYPE: capacity_type, "kubernetes.io/hostname": name},
                },
                "spec": {"taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]},
                "status": {"capacity": amounts, "allocatable": amounts},
            },
        )
