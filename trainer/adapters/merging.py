"""Several adapters as one: Σ weight · scale · ΔW of each layer, as a plain LoRA."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from trainer.adapters.reduction import to_lora
from trainer.adapters.spectrum import factors_of
from trainer.adapters.weights import LayerWeights
from trainer.errors import UserError


def merged(adapters: Sequence[tuple[Sequence[LayerWeights], float]]) -> list[LayerWeights]:
    """The sum of adapters, each with the weight that its change is multiplied by, in fp64; layers in the order of appearance.

    The factors of a layer's changes stand side by side, which is exact: the rank is the sum of the ranks. Where that is more
    than the layer's own weight can have, it is reduced to that, which loses nothing. Raises UserError for layers that differ in
    shape.
    """
    by_name: dict[str, list[tuple[LayerWeights, float]]] = {}
    for layers, weight in adapters:
        for layer in layers:
            by_name.setdefault(layer.name, []).append((layer, weight))
    different = [name for name, parts in by_name.items() if len({_shape(part) for part, _ in parts}) > 1]
    if different:
        raise UserError(
            f"The adapters were made for different base models: {len(different)} layers are of different shapes, such as "
            f"{different[0]}; merge adapters of one family."
        )
    return [_sum(parts) for parts in by_name.values()]


def _shape(weights: LayerWeights) -> tuple[int, int]:
    """As a matrix, in which a linear layer and a 1x1 convolution are the same; files mix them up."""
    return weights.layer.outputs, weights.layer.columns


def _sum(parts: Sequence[tuple[LayerWeights, float]]) -> LayerWeights:
    first, layer = parts[0][0], parts[0][0].layer
    factors = [(weight * left, right) for part, weight in parts for left, right in [factors_of(part)]]
    up = torch.cat([left for left, _ in factors], dim=1)
    down = torch.cat([right for _, right in factors])
    rank, point = len(down), () if layer.kernel is None else (1, 1)
    tensors = {
        "lora_down": down.reshape(rank, *layer.shape[1:]),
        "lora_up": up.reshape(layer.outputs, rank, *point),
    }
    whole = first.with_tensors(tensors, alpha=float(rank))
    return to_lora(whole, min(layer.outputs, layer.columns))[0]
