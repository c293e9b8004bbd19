"""The layer that an adapter is trained in, and how it gets into a network.

Every type of adapter is this one layer with another kind of tensors in it. It is not put there by PEFT: PEFT's layers lack
Tucker cores, DyLoRA and dropout of ranks and modules, its LoHa and LoKr build the whole ΔW in each forward pass, and its import
alone takes seconds (docs/speed.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trainer.adapters import dylora
from trainer.adapters.kinds import kind_of
from trainer.adapters.plan import LayerPlan
from trainer.adapters.weights import LayerWeights


@dataclass
class Moment:
    """What holds for the whole adapter at the moment; shared by all its layers."""

    off: bool = False
    """The base alone answers."""
    strength: float = 1.0
    """What the adapter's change is multiplied by, where pictures are drawn; training knows but the whole of it."""
    cut: int | None = None
    """DyLoRA: the rank of this step."""
    left_out: frozenset[str] = frozenset()
    """Names of the layers that module dropout leaves out of this step."""


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How layers behave while they train; the same for the whole adapter."""

    dropout: float = 0.0
    rank_dropout: float = 0.0
    unit: int = 0
    """DyLoRA: the unit of ranks."""
    mode: dylora.Mode = "frozen"
    moment: Moment = field(default_factory=Moment)


class AdaptedLayer(nn.Module):
    """A frozen layer and its adapter: base(x) + scale · ΔW x. The adapter computes in its own type, fp32."""

    def __init__(self, base: nn.Module, plan: LayerPlan, tensors: Mapping[str, Tensor], behaviour: Behaviour) -> None:
        super().__init__()
        self.base_layer = base
        self.plan, self.behaviour = plan, behaviour
        self.tensors = {name: nn.Parameter(tensor) for name, tensor in tensors.items()}
        """The trained parameters, by name; a plain dict, since it is read in every forward pass."""
        self.adapter_tensors = nn.ParameterDict(self.tensors)
        self._kind = kind_of(tensors)
        self._scale = self.weights.scale

    @property
    def weights(self) -> LayerWeights:
        """The layer's tensors as they stand; they are the trained ones, not copies."""
        return LayerWeights(
            network=self.plan.network,
            path=self.plan.path,
            layer=self.plan.layer,
            tensors=self.tensors,
            alpha=self.plan.size.alpha,
        )

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        result: Tensor = self.base_layer(x, *args, **kwargs)
        moment = self.behaviour.moment
        if moment.off or (self.training and self.plan.name in moment.left_out):
            return result
        tensors, scale = self._in_training() if self.training else (self.tensors, self._scale * moment.strength)
        inputs = x.to(next(iter(tensors.values())).dtype)
        if self.training and self.behaviour.dropout > 0:
            inputs = nn.functional.dropout(inputs, self.behaviour.dropout)
        return result + self._kind.forward(inputs, tensors, self.plan.layer, scale).to(result.dtype)

    def _in_training(self) -> tuple[Mapping[str, Tensor], float]:
        """Tensors and strength as this step sees them."""
        tensors, behaviour, cut = self.tensors, self.behaviour, self.behaviour.moment.cut
        if cut is not None:
            size = self.plan.size
            own = min(cut, size.rank)
            return (
                dylora.newest_block(tensors, own, behaviour.unit, behaviour.mode),
                dylora.strength(size.rank, size.alpha, own),
            )
        if behaviour.rank_dropout > 0:
            rank = self._kind.rank(tensors)
            keep = torch.rand(rank or 1, device=next(iter(tensors.values())).device) >= behaviour.rank_dropout
            return self._kind.thinned(tensors, keep / (1 - behaviour.rank_dropout)), self._scale
        return tensors, self._scale


def put_in(network: nn.Module, plan: LayerPlan, tensors: Mapping[str, Tensor], behaviour: Behaviour) -> AdaptedLayer:
    """Puts an adapter with these first tensors into the network, in the place of the planned layer."""
    parent_path, _, name = plan.path.rpartition(".")
    parent = network.get_submodule(parent_path)
    base = parent.get_submodule(name)
    device = next(base.parameters()).device
    layer = AdaptedLayer(base, plan, tensors, behaviour).to(device)
    parent.register_module(name, layer)
    return layer
