"""Resource names as people may give them: `trainingJobs/x`, or just `x` where the kind is known."""

from __future__ import annotations

JOBS, DATASETS, ADAPTERS, BASES = "trainingJobs", "datasets", "adapters", "baseModels"

NAMED_IN_SPECS = {
    "loramill.v1.TrainingSpec.base_model": BASES,
    "loramill.v1.DatasetSpec.dataset": DATASETS,
    "loramill.v1.AdapterSpec.initial_adapter": ADAPTERS,
}
"""Fields of a spec that hold a resource's name, and the collection that a bare id belongs to."""


def full_name(collection: str, name: str) -> str:
    """`x` becomes `<collection>/x`; a full name stays as it is, for the service to judge."""
    name = name.strip()
    return name if "/" in name else f"{collection}/{name}"


def short_name(name: str) -> str:
    """The part after the collection."""
    return name.rpartition("/")[2]
