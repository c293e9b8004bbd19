"""What a spec leaves open of its adapter, filled in: one row per family and type. Pure.

A job that goes on from another adapter takes type, layers and sizes from that adapter's file, which the trainer reads: they
stay open.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from loramill import v1
from service.defaults import choose, default

LORA, LOCON, LOHA, LOKR, DYLORA = (
    v1.ADAPTER_TYPE_LORA,
    v1.ADAPTER_TYPE_LOCON,
    v1.ADAPTER_TYPE_LOHA,
    v1.ADAPTER_TYPE_LOKR,
    v1.ADAPTER_TYPE_DYLORA,
)


@dataclass(frozen=True)
class AdapterPreset:
    """One row of the table."""

    rank: int
    alpha_per_rank: float
    conv_rank_per_rank: float
    targets: v1.AdapterTargets.ValueType
    unet_rate: float
    text_encoder_rate: float
    steps: int


_ATTENTION_MLP, _ALL = v1.ADAPTER_TARGETS_ATTENTION_MLP, v1.ADAPTER_TARGETS_ALL

# fmt: off
_ROWS: Mapping[tuple[str, v1.AdapterType.ValueType], AdapterPreset] = {
    #                               rank  alpha  conv   targets         unet  text  steps
    #                                     /rank  /rank                  rate  rate
    # kohya's documentation: rank 16, 1e-4 to 3e-4, the text encoder below; LyCORIS' authors: attention and MLP for most work.
    ("sd15", LORA):   AdapterPreset(16,   1.0,   1.0,   _ATTENTION_MLP, 1e-4, 5e-5, 1000),
    # LyCORIS' configurations: 16/8, convolutions 8/4.
    ("sd15", LOCON):  AdapterPreset(16,   0.5,   0.5,   _ALL,           1e-4, 5e-5, 1000),
    # LyCORIS' configurations: 8/4, both networks at 2e-4.
    ("sd15", LOHA):   AdapterPreset(8,    0.5,   0.5,   _ATTENTION_MLP, 2e-4, 2e-4, 1000),
    # LyCORIS' configurations: full matrices at 2e-4. Rank and alpha are for those that are not full, as LoHa's.
    ("sd15", LOKR):   AdapterPreset(8,    0.5,   0.5,   _ATTENTION_MLP, 2e-4, 1e-4, 1000),
    # LyCORIS' configurations: a high rank, alpha up to it, and more steps, for each trains one rank alone.
    ("sd15", DYLORA): AdapterPreset(64,   1.0,   1.0,   _ATTENTION_MLP, 1e-4, 5e-5, 1500),
    # As of sd15, whose UNet has the same layers; nobody documents others.
    ("sd2", LORA):    AdapterPreset(16,   1.0,   1.0,   _ATTENTION_MLP, 1e-4, 5e-5, 1000),
    ("sd2", LOCON):   AdapterPreset(16,   0.5,   0.5,   _ALL,           1e-4, 5e-5, 1000),
    ("sd2", LOHA):    AdapterPreset(8,    0.5,   0.5,   _ATTENTION_MLP, 2e-4, 2e-4, 1000),
    ("sd2", LOKR):    AdapterPreset(8,    0.5,   0.5,   _ATTENTION_MLP, 2e-4, 1e-4, 1000),
    ("sd2", DYLORA):  AdapterPreset(64,   1.0,   1.0,   _ATTENTION_MLP, 1e-4, 5e-5, 1500),
    # kohya's documentation: 32/16 at 1e-4, text encoders frozen or at a tenth of it; 1,500 steps and more for a character.
    ("sdxl", LORA):   AdapterPreset(32,   0.5,   0.5,   _ATTENTION_MLP, 1e-4, 1e-5, 1500),
    ("sdxl", LOCON):  AdapterPreset(16,   0.5,   0.5,   _ALL,           1e-4, 1e-5, 1500),
    ("sdxl", LOHA):   AdapterPreset(8,    0.5,   0.5,   _ATTENTION_MLP, 2e-4, 2e-5, 1500),
    ("sdxl", LOKR):   AdapterPreset(8,    0.5,   0.5,   _ATTENTION_MLP, 2e-4, 2e-5, 1500),
    ("sdxl", DYLORA): AdapterPreset(64,   0.5,   0.5,   _ATTENTION_MLP, 1e-4, 1e-5, 2000),
}
# fmt: on

FAMILIES = frozenset(family for family, _ in _ROWS)

LOKR_FACTOR = 8
"""LyCORIS' configurations have 4 to 8 with full matrices."""

CONVERTED_RANK = 64

OPTIONS: Mapping[str, tuple[tuple[v1.AdapterType.ValueType, ...], object]] = {
    "rank_dropout": ((LORA, LOCON, LOHA), 0.0),
    "tucker": ((LOCON, LOHA, LOKR), False),
    "rank_stabilized": ((LORA, LOCON, LOHA), False),
    "lora_plus_ratio": ((LORA, LOCON, DYLORA), 1.0),
}
"""Options that only some types have: which, and their defaults."""

TAKEN_FROM_FILE = ("rank", "alpha", "conv_rank", "conv_alpha", "targets", "tucker", "rank_stabilized", "lokr")
"""What a job that goes on from another adapter takes from its file."""


def preset_for(family: str, adapter_type: v1.AdapterType.ValueType) -> AdapterPreset:
    """KeyError if there is none."""
    return _ROWS[family, adapter_type]


def type_of(adapter: v1.AdapterSpec, initial: v1.Adapter | None) -> v1.AdapterType.ValueType:
    """The type asked for, else that of the adapter to go on from, else LORA."""
    return adapter.type or (initial.type if initial is not None else LORA) or LORA


def targets_of(adapter: v1.AdapterSpec, preset: AdapterPreset) -> v1.AdapterTargets.ValueType:
    return adapter.targets or preset.targets


def has_full_matrices(adapter: v1.AdapterSpec) -> bool:
    """Whether an adapter of type LOKR has no rank: so it is unless something is asked for that needs one."""
    if adapter.lokr.HasField("full_matrix"):
        return adapter.lokr.full_matrix
    return next(sizes_asked_for(adapter), None) is None


def sizes_asked_for(adapter: v1.AdapterSpec) -> Iterator[str]:
    """The fields, from the adapter on, that make no sense for matrices without a rank."""
    yield from (name for name in ("rank", "alpha", "conv_rank", "conv_alpha") if adapter.HasField(name))
    if adapter.tucker:
        yield "tucker"
    if adapter.lokr.decompose_both:
        yield "lokr.decompose_both"
    yield from rule_sizes(adapter)


def rule_sizes(adapter: v1.AdapterSpec) -> Iterator[str]:
    """The ranks and alphas that rules set."""
    for place, rule in enumerate(adapter.rules):
        yield from (f"rules[{place}].{name}" for name in ("rank", "alpha") if rule.HasField(name))


def ranks_of(adapter: v1.AdapterSpec, preset: AdapterPreset, initial: v1.Adapter | None) -> dict[str, int]:
    """Every rank that layers will have, by the field that says so."""
    if initial is not None:
        return {"initial_adapter": initial.rank}
    rank = adapter.rank if adapter.HasField("rank") else preset.rank
    ranks = {"rank": rank}
    if targets_of(adapter, preset) == v1.ADAPTER_TARGETS_ALL:
        ranks["conv_rank"] = adapter.conv_rank if adapter.HasField("conv_rank") else _conv_rank(rank, preset)
    return ranks | {
        f"rules[{place}].rank": rule.rank for place, rule in enumerate(adapter.rules) if rule.HasField("rank")
    }


def default_unit(ranks: Sequence[int]) -> int:
    """The largest common divisor of the ranks that is at most a quarter of the smallest; at least 1."""
    common = math.gcd(*ranks)
    return max((unit for unit in range(1, min(ranks) // 4 + 1) if common % unit == 0), default=1)


def resolve_adapter(adapter: v1.AdapterSpec, preset: AdapterPreset, initial: v1.Adapter | None) -> None:
    """Fills every unset field that the adapter's type has. `adapter` has its type, and is valid."""
    if initial is None:
        _resolve_size(adapter, preset)
    for name in ("dropout", "module_dropout"):
        default(adapter, name, 0.0)
    for name, (types, value) in OPTIONS.items():
        if adapter.type in types and not (initial is not None and name in TAKEN_FROM_FILE):
            default(adapter, name, value)
    if adapter.type == DYLORA:
        default(adapter.dylora, "unit", default_unit(list(ranks_of(adapter, preset, initial).values())))
        choose(adapter.dylora, "mode", v1.DYLORA_MODE_FROZEN)
    for rule in adapter.rules:
        default(rule, "train", True)


def _resolve_size(adapter: v1.AdapterSpec, preset: AdapterPreset) -> None:
    adapter.targets = targets_of(adapter, preset)
    if adapter.type == LOKR:
        default(adapter.lokr, "factor", LOKR_FACTOR)
        default(adapter.lokr, "full_matrix", has_full_matrices(adapter))
        default(adapter.lokr, "decompose_both", False)
        if adapter.lokr.full_matrix:
            return
    default(adapter, "rank", preset.rank)
    default(adapter, "alpha", preset.alpha_per_rank * adapter.rank)
    if adapter.targets == v1.ADAPTER_TARGETS_ALL:
        default(adapter, "conv_rank", _conv_rank(adapter.rank, preset))
        default(adapter, "conv_alpha", adapter.alpha / adapter.rank * adapter.conv_rank)


def _conv_rank(rank: int, preset: AdapterPreset) -> int:
    return max(1, int(rank * preset.conv_rank_per_rank))
