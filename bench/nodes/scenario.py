"""What the run is of: machines and their prices, compute classes, jobs and when they come. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.cluster.autoscaler import CAPACITY_TYPE, InstanceType, Pool

ON_DEMAND, SPOT = "on-demand", "spot"
CLASS_OF = {ON_DEMAND: "gpu", SPOT: "gpu-spot"}
"""Compute class by capacity type."""

SIMULATED = "kwok.x-k8s.io/node"
"""Annotation of Node objects that no kubelet answers for."""

_PRICES = {ON_DEMAND: 1.2, SPOT: 0.4}
"""Of a GPU with its share of the machine, USD per hour."""

INSTANCE_TYPES = tuple(
    InstanceType(
        f"gpu-{gpus}x",
        gpus,
        cpu=8 * gpus,
        memory_gib=32 * gpus,
        prices={kind: gpus * price for kind, price in _PRICES.items()},
    )
    for gpus in (1, 4, 8)
)

STEP_SECONDS = 0.15
"""How long a simulated trainer takes for a step."""
LOADING_SECONDS = 2.0
"""From a container's beginning to its first step."""
BOOT_SECONDS = 4
"""From the purchase of a machine to its Node object."""
NOTICE_SECONDS = 30.0
"""From the word that a spot machine goes to its going, as Google gives it; not shortened, since Karpenter is not quicker here."""
SHORTEST, LONGEST = 400, 1200
"""Steps of a job: one to three minutes."""
CHECKPOINTS = 10
"""Of a job, as the presets have it."""


@dataclass(frozen=True)
class PlannedJob:
    """A job that somebody will create."""

    at: float
    """Seconds after the beginning."""
    compute_class: str
    steps: int

    @property
    def checkpoint_every(self) -> int:
        return max(25, self.steps // CHECKPOINTS)


def pools(gpus: int, spot_policy: str = "WhenEmpty") -> tuple[Pool, ...]:
    """One for each capacity type, of at most so many GPUs each. Trainers on demand are kept by their annotation alone."""
    return (Pool(ON_DEMAND, "WhenEmptyOrUnderutilized", gpus), Pool(SPOT, spot_policy, gpus))


def compute_classes() -> list[dict[str, object]]:
    """As the operator's file has them: what selects nodes are labels that the pools know before there is a node."""
    return [
        {
            "name": name,
            "description": f"one GPU, {capacity_type}",
            "gpus": 1,
            "gpu_memory_gib": 24,
            "cpu": "4",
            "memory": "16Gi",
            "ephemeral_storage": "20Gi",
            "node_selector": {CAPACITY_TYPE: capacity_type},
            "tolerations": [{"key": "nvidia.com/gpu"}],
            "spot": capacity_type == SPOT,
            "price_per_hour": _PRICES[capacity_type],
        }
        for capacity_type, name in CLASS_OF.items()
    ]


def planned_jobs(count: int, seconds: float, seed: int) -> Sequence[PlannedJob]:
    """Every other one for spot machines; they come at random within that time, earliest first."""
    drawn = random.Random(seed)
    times = sorted(drawn.uniform(0, seconds) for _ in range(count))
    kinds = list(CLASS_OF.values())
    return [
        PlannedJob(at, kinds[number % len(kinds)], drawn.randint(SHORTEST, LONGEST)) for number, at in enumerate(times)
    ]
