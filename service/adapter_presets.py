"""What a spec leaves open of its adapter, filled in from its row of the table of presets. Pure.

A job that goes on from another adapter takes type, layers and sizes from that adapter's file, which the trainer reads: they
stay open.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from loramill import v1
from service.defaults import choose, default
from service.preset_table import DYLORA, LOCON, LOHA, LOKR, LORA, AdapterPreset

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
