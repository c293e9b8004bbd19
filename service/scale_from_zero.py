"""What keeps an autoscaler from bringing a compute class its first node. Pure.

An autoscaler that has no node of a kind yet knows of it what its own configuration says: the cloud's labels, and those of its
pool (Karpenter's NodePool, cluster-autoscaler's node group). What an agent finds out on the node itself comes too late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.compute_classes import ComputeClass

_FOUND_ON_NODES = (
    "nvidia.com/gpu.",
    "nvidia.com/cuda.",
    "nvidia.com/mig.",
    "amd.com/gpu.",
    "feature.node.kubernetes.io/",
)
"""Beginnings of the labels that NVIDIA's and AMD's and Kubernetes' own feature discovery write, by their documentation."""


def unknown_before_a_node(compute_class: ComputeClass) -> Iterator[str]:
    """A sentence for each label by which the class chooses nodes, and which none has before it is there."""
    keys = {*compute_class.node_selector, *(required.key for required in compute_class.node_affinity)}
    for key in sorted(keys):
        if key.startswith(_FOUND_ON_NODES):
            yield (
                f"Compute class {compute_class.name} chooses nodes by the label {key}, which is written when a node is there: no "
                "autoscaler brings its first one; choose by a label of the cloud or of the node pool, or give the pool this one."
            )
