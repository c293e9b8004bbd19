"""LoRA (Hu et al., arXiv 2106.09685, sec. 4.1) and LoCon: ΔW = up · down, and up · mid · down with a Tucker core.

| tensor | linear | 1x1 | 3x3 | 3x3, Tucker |
|---|---|---|---|---|
| lora_down | (r, I) | (r, I, 1, 1) | (r, I, 3, 3), with the layer's stride and padding | (r, I, 1, 1) |
| lora_mid | | | | (r, r, 3, 3), with the layer's stride and padding |
| lora_up | (O, r) | (O, r, 1, 1) | (O, r, 1, 1) | (O, r, 1, 1) |
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.adapters.mathematics import Draw, Size, Tensors, apply, kaiming_uniform, pointwise
from trainer.adapters.targets import Layer


class Lora:
    """See `mathematics.Kind`."""

    name = "LoRA"

    def initial(self, layer: Layer, size: Size, draw: Draw) -> dict[str, Tensor]:
        point = () if layer.kernel is None else (1, 1)
        core = layer.is_spatial and size.tucker
        tensors = {
            "lora_down": kaiming_uniform(
                (size.rank, layer.inputs, *(point if core else layer.kernel or ())), draw("lora_down")
            )
        }
        if core:
            tensors["lora_mid"] = kaiming_uniform((size.rank, *(size.rank, *(layer.kernel or ()))), draw("lora_mid"))
        return {**tensors, "lora_up": torch.zeros(layer.outputs, size.rank, *point)}

    def forward(self, x: Tensor, tensors: Tensors, layer: Layer, scale: float) -> Tensor:
        if "lora_mid" in tensors:
            hidden = apply(pointwise(x, tensors["lora_down"], layer), tensors["lora_mid"], layer)
        else:
            hidden = apply(x, tensors["lora_down"], layer)
        return pointwise(hidden * scale, tensors["lora_up"], layer)

    def delta(self, tensors: Tensors, layer: Layer) -> Tensor:
        left, right = self.low_rank(tensors)
        return (left @ right).view(layer.shape)

    def low_rank(self, tensors: Tensors) -> tuple[Tensor, Tensor]:
        down = tensors["lora_down"].flatten(1)
        if "lora_mid" in tensors:
            down = contracted(tensors["lora_mid"], down)
        return tensors["lora_up"].flatten(1), down

    def rank(self, tensors: Tensors) -> int:
        return tensors["lora_up"].shape[1]

    def thinned(self, tensors: Tensors, keep: Tensor) -> Tensors:
        up = tensors["lora_up"]
        return {**tensors, "lora_up": up * keep.view(1, -1, *[1] * (up.ndim - 2))}


def contracted(core: Tensor, down: Tensor) -> Tensor:
    """A Tucker core (r, r, k, k) and the matrix (r, I) below it as one matrix (r, I·k·k)."""
    return torch.einsum("rs...,si->ri...", core, down).flatten(1)
