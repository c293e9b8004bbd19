"""What each layer's adapter will be: rank, alpha, rate. Pure: names, layers and configuration in, plain data out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from trainer.adapters import lokr
from trainer.adapters.mathematics import Size
from trainer.adapters.targets import Layer
from trainer.config import AdapterConfig, LayerRule


@dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """One layer that will be adapted."""

    network: str
    path: str
    layer: Layer
    size: Size
    learning_rate: float
    """At the peak of the schedule."""

    @property
    def name(self) -> str:
        return f"{self.network}.{self.path}"


def plan_layers(
    network: str, layers: Mapping[str, Layer], targets: Sequence[str], config: AdapterConfig, learning_rate: float
) -> list[LayerPlan]:
    """A plan for each target, in their order. The first rule whose pattern matches a layer's full name counts."""
    plans = []
    for path in targets:
        rule = _rule_for(f"{network}.{path}", config.rules)
        if rule is not None and not rule.train:
            continue
        plans.append(
            LayerPlan(
                network=network,
                path=path,
                layer=layers[path],
                size=_size(layers[path], config, rule),
                learning_rate=rate_of(f"{network}.{path}", config, learning_rate),
            )
        )
    return plans


def rate_of(name: str, config: AdapterConfig, learning_rate: float) -> float:
    """The rate of a layer by its full name: its rule's, else that of its network."""
    rule = _rule_for(name, config.rules)
    return learning_rate if rule is None or rule.learning_rate is None else rule.learning_rate


def unmatched_rules(names: Sequence[str], rules: Sequence[LayerRule]) -> list[str]:
    """Patterns that match none of these full names of layers."""
    return [rule.pattern for rule in rules if not any(fnmatchcase(name, rule.pattern) for name in names)]


def _rule_for(name: str, rules: Sequence[LayerRule]) -> LayerRule | None:
    return next((rule for rule in rules if fnmatchcase(name, rule.pattern)), None)


def _size(layer: Layer, config: AdapterConfig, rule: LayerRule | None) -> Size:
    rank, alpha = (config.conv_rank, config.conv_alpha) if layer.is_spatial else (config.rank, config.alpha)
    if rule is not None and rule.rank is not None:
        # A rule that names a rank alone keeps the strength.
        rank, alpha = rule.rank, alpha / rank * rule.rank
    if rule is not None and rule.alpha is not None:
        alpha = rule.alpha
    if config.rank_stabilized:
        # rsLoRA (arXiv 2312.03732, eq. 3): alpha / sqrt(r), said by an alpha that every loader divides by r.
        alpha *= math.sqrt(rank)
    size = Size(
        rank=rank,
        alpha=alpha,
        tucker=config.tucker and layer.is_spatial,
        factor=config.lokr.factor,
        full_matrix=config.lokr.full_matrix,
        decompose_both=config.lokr.decompose_both,
    )
    if config.type == "lokr" and lokr.cut_of(layer, size).is_full:
        # Loaders that divide by the rank they were told, and those that do not, then agree on the strength: 1.
        return replace(size, alpha=float(rank))
    return size
