"""Small layers of every kind, and adapters on them that have been trained."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from trainer.adapters.adapted_layer import AdaptedLayer, Behaviour
from trainer.adapters.kinds import KINDS
from trainer.adapters.mathematics import Size
from trainer.adapters.plan import LayerPlan
from trainer.adapters.targets import Layer
from trainer.draws import generator

LAYERS = {
    "linear": Layer(36, 24),
    "1x1": Layer(36, 24, (1, 1)),
    "3x3": Layer(36, 24, (3, 3), padding=(1, 1)),
    "3x3, stride 2": Layer(24, 36, (3, 3), stride=(2, 2), padding=(1, 1)),
    "3x3, dilated": Layer(24, 24, (3, 3), padding=(2, 2), dilation=(2, 2)),
}

SIZES = {
    "LoRA": ("lora", Size(rank=4, alpha=2)),
    "LoRA, Tucker": ("lora", Size(rank=4, alpha=2, tucker=True)),
    "LoHa": ("hada", Size(rank=2, alpha=1)),
    "LoHa of high rank": ("hada", Size(rank=9, alpha=1)),
    "LoHa, Tucker": ("hada", Size(rank=2, alpha=1, tucker=True)),
    "LoKr": ("lokr", Size(rank=2, alpha=1)),
    "LoKr, factor 4": ("lokr", Size(rank=2, alpha=1, factor=4)),
    "LoKr, factor 8": ("lokr", Size(rank=1, alpha=1, factor=8)),
    "LoKr, full": ("lokr", Size(rank=2, alpha=2, factor=8, full_matrix=True)),
    "LoKr, small one decomposed": ("lokr", Size(rank=1, alpha=2, decompose_both=True)),
    "LoKr, Tucker": ("lokr", Size(rank=2, alpha=1, tucker=True)),
}


ALL = [
    pytest.param(kind, layer, size, id=f"{option}: {name}")
    for name, layer in LAYERS.items()
    for option, (kind, size) in SIZES.items()
    if layer.is_spatial or not size.tucker
]
"""Kind, layer and size of each option on each layer that has it."""


def first(kind: str, layer: Layer, size: Size) -> dict[str, Tensor]:
    """As before the first step."""
    return KINDS[kind].initial(layer, size, partial(generator, 0))


def trained(kind: str, layer: Layer, size: Size, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """As after training: no tensor is zero any more."""
    return {
        name: tensor.to(dtype) + drawn(tuple(tensor.shape), name, dtype)
        for name, tensor in first(kind, layer, size).items()
    }


def drawn(shape: tuple[int, ...], name: str, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(generator(1, name).normal(size=shape)).to(dtype)


def inputs(layer: Layer, dtype: torch.dtype = torch.float32) -> Tensor:
    """(2, 5, I) or (2, I, 6, 7)."""
    return drawn((2, 5, layer.inputs) if layer.kernel is None else (2, layer.inputs, 6, 7), "inputs", dtype)


def adapted(
    kind: str, layer: Layer, size: Size, behaviour: Behaviour | None = None, *, path: str = "a.b"
) -> AdaptedLayer:
    """A trained adapter on a base layer, in training."""
    base: nn.Module = nn.Linear(layer.inputs, layer.outputs)
    if layer.kernel is not None:
        base = nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.padding, layer.dilation)
    plan = LayerPlan(network="unet", path=path, layer=layer, size=size, learning_rate=1e-3)
    return AdaptedLayer(base, plan, trained(kind, layer, size), behaviour or Behaviour()).train()
