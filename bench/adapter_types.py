"""What docs/decisions/0009 lays down: the adapters that are compared, their sizes, rates and seeds, and how a rate is chosen.

Pure. Every adapter is trained on the same twelve pictures, by the same steps, batches, prior examples and seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.shapes import Trial

COMMON = (
    "optimization.steps=150",
    "optimization.batch_size=4",
    "text_encoder.train=false",
    "concept.prior_preservation.weight=4",
    "dataset.flip_probability=0",
    "adapter.dropout=0",
)
TUNING_SEED, SEEDS = 0, (1, 2, 3)
MOST_LOST = 5.0
"""Points of known shapes that a rate may cost."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One adapter of the table."""

    name: str
    title: str
    changes: tuple[str, ...]
    rates: tuple[float, ...]
    """To choose from, rising."""
    rate_of: str = ""
    """The row whose rate it takes, if it has none of its own."""

    def trial(self, rate: float, seed: int) -> Trial:
        return Trial(self.name, (*COMMON, *self.changes, f"unet.learning_rate={rate:g}"), seed)


def _sized(kind: str, rank: int, targets: str = "all") -> tuple[str, ...]:
    sizes = [f"adapter.rank={rank}", f"adapter.alpha={rank}"]
    sizes += [f"adapter.conv_rank={rank}", f"adapter.conv_alpha={rank}"] if targets == "all" else []
    return (f"adapter.type={kind}", f"adapter.targets={targets}", *sizes)


def _dylora(mode: str) -> tuple[str, ...]:
    return (*_sized("dylora", 16), "adapter.dylora.unit=4", f"adapter.dylora.mode={mode}")


RATES = (1e-3, 2e-3, 4e-3)
TWICE = tuple(2 * rate for rate in RATES)
"""LyCORIS's own configurations train LoHa and LoKr at twice LoRA's rate."""

LOKR = ("adapter.type=lokr", "adapter.targets=all", "adapter.lokr.factor=2", "adapter.lokr.full_matrix=true")

# fmt: off
ROWS = (
    Row(name="lora",   title="LoRA, rank 32, no 3x3",     changes=_sized("lora", 32, "transformer"), rates=RATES),
    Row(name="locon",  title="LoCon, rank 16",            changes=_sized("locon", 16),               rates=RATES),
    Row(name="loha",   title="LoHa, rank 8",              changes=_sized("loha", 8),                 rates=TWICE),
    Row(name="lokr",   title="LoKr, factor 2, full",      changes=LOKR,                              rates=TWICE),
    Row(name="dylora", title="DyLoRA, rank 16, frozen",   changes=_dylora("frozen"),                 rates=RATES),
)
HIGH_RANK = (
    Row(name="locon-64", title="LoCon, rank 64", changes=_sized("locon", 64), rates=(), rate_of="locon"),
    Row(name="loha-32",  title="LoHa, rank 32",  changes=_sized("loha", 32),  rates=(), rate_of="loha"),
)
JOINT = Row(name="dylora-joint", title="DyLoRA, rank 16, joint", changes=_dylora("joint"), rates=(), rate_of="locon")
# fmt: on

PLAIN, SAME_LAYERS = "lora", "locon"
"""Rows that others are compared with: what most people train, and the same mathematics on the layers that the others have."""


@dataclass(frozen=True)
class Result:
    """Shares in percent."""

    hearts: float
    known: float


def chosen_rate(results: Mapping[float, Result], known_before: float) -> float:
    """The rate with most hearts among those that cost at most MOST_LOST points of known shapes; the lower one of equals.

    Where every rate costs more, the one that costs least.
    """
    kept = {rate: one for rate, one in results.items() if known_before - one.known <= MOST_LOST}
    if kept:
        return max(sorted(kept), key=lambda rate: kept[rate].hearts)
    return max(sorted(results), key=lambda rate: results[rate].known)
