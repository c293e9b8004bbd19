"""An adapter's layers against those of a base model: every layer must be there, of the same shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from trainer.adapters.targets import Layer
from trainer.adapters.weights import LayerWeights
from trainer.errors import UserError
from trainer.formats.assembly import listed

_AS_THE_WEIGHT = ("lora_down", "lora_up", "lokr_w2")
"""Tensors of a pointwise layer that have as many sides as the layer's weight; the others are matrices."""


def matched(weights: Sequence[LayerWeights], base: Mapping[str, Mapping[str, Layer]]) -> list[LayerWeights]:
    """The same adapter, each layer as the base has it. `base` holds the layers by network and path (`targets.layers_of`).

    A linear layer and a 1x1 convolution of the same channels do the same; files mix them up. Raises UserError with every
    layer that the base lacks or has in another shape.
    """
    lacking, different, found = [], [], []
    for one in weights:
        layer = base.get(one.network, {}).get(one.path)
        if layer is None:
            lacking.append(one.name)
        elif _squeezed(layer.shape) != _squeezed(one.layer.shape):
            different.append(f"{one.name} ({_said(one.layer)} in the file, {_said(layer)} in the base)")
        else:
            found.append(_as_in(one, layer))
    problems = []
    if lacking:
        problems.append(
            f"The base model lacks {len(lacking)} of the adapter's {len(weights)} layers: {listed(lacking)}."
        )
    if different:
        problems.append(f"{len(different)} layers are of another shape in the base model: {listed(different)}.")
    if problems:
        raise UserError([*problems, "Use the base model, or one of the family, that the adapter was made for."])
    return found


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:2] if shape[2:] == (1, 1) else shape


def _said(layer: Layer) -> str:
    return " x ".join(map(str, layer.shape))


def _as_in(weights: LayerWeights, layer: Layer) -> LayerWeights:
    tensors = weights.tensors
    if weights.layer.shape != layer.shape:
        tensors = {
            name: tensor.reshape(*tensor.shape[:2], *(layer.kernel or ())) if name in _AS_THE_WEIGHT else tensor
            for name, tensor in tensors.items()
        }
    return replace(weights, layer=layer, tensors=tensors)
