"""What every kind of adapter can do with its tensors. A kind is stateless: plain tensors in, plain tensors out.

Shapes: x (B, …, I) for a linear layer, (B, I, h, w) for a convolution; O outputs, I inputs, k the kernel's side, r the rank.
Tensors are named as in LyCORIS's and kohya's files, without a trailing `.weight`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainer.adapters.targets import Layer

Tensors = Mapping[str, Tensor]

Draw = Callable[[str], np.random.Generator]
"""The stream of random numbers for the first values of a tensor, by the tensor's name."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What the adapter of one layer is made of. Its strength is alpha / rank."""

    rank: int
    alpha: float
    tucker: bool = False
    """Whether a 3x3 convolution is decomposed by a core tensor of its own."""
    factor: int = -1
    """LoKr: sides of the small factor; -1 for the nearest to square."""
    full_matrix: bool = False
    """LoKr: the large factor is never decomposed."""
    decompose_both: bool = False
    """LoKr: the small factor is decomposed too, where that saves anything."""


class Kind(Protocol):
    """One parametrisation of a layer's change ΔW."""

    name: str
    """As people say it: LoRA, LoHa, LoKr."""

    def initial(self, layer: Layer, size: Size, draw: Draw) -> dict[str, Tensor]:
        """The trained tensors before the first step, fp32; ΔW is 0."""
        ...

    def forward(self, x: Tensor, tensors: Tensors, layer: Layer, scale: float) -> Tensor:
        """scale · ΔW applied to x, in the cheapest order of multiplication."""
        ...

    def delta(self, tensors: Tensors, layer: Layer) -> Tensor:
        """ΔW without its scale, of the layer's weight's shape, in the tensors' own type."""
        ...

    def low_rank(self, tensors: Tensors) -> tuple[Tensor, Tensor]:
        """Exact factors A (O, q) and B (q, I·k·k) of ΔW without its scale, q being as small as the structure gives."""
        ...

    def rank(self, tensors: Tensors) -> int | None:
        """The rank that alpha is divided by; None where the strength is 1 whatever alpha says."""
        ...

    def thinned(self, tensors: Tensors, keep: Tensor) -> Tensors:
        """The tensors with each rank component multiplied by its entry of `keep` (r,)."""
        ...


def apply(x: Tensor, weight: Tensor, layer: Layer) -> Tensor:
    """A weight of the layer's shape applied as the layer applies its own, without bias."""
    if layer.kernel is None:
        return functional.linear(x, weight)
    return functional.conv2d(x, weight, None, layer.stride, layer.padding, layer.dilation)


def pointwise(x: Tensor, weight: Tensor, layer: Layer) -> Tensor:
    """A matrix (out, in) applied to features or channels."""
    if layer.kernel is None:
        return functional.linear(x, weight)
    return functional.conv2d(x, weight.view(*weight.shape[:2], 1, 1))


def places(x: Tensor, layer: Layer) -> tuple[int, int]:
    """At how many places a layer reads x, and at how many it writes: tokens, or pixels of all pictures."""
    read = x.numel() // layer.inputs
    if layer.kernel is None:
        return read, read
    geometry = zip(x.shape[2:], layer.kernel, layer.stride, layer.padding, layer.dilation, strict=True)
    sides = [
        (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for side, kernel, stride, padding, dilation in geometry
    ]
    return read, len(x) * math.prod(sides)


def kaiming_uniform(shape: tuple[int, ...], draw: np.random.Generator) -> Tensor:
    """With a = sqrt(5), as torch draws a layer's weight: U(-b, b) with b = 1 / sqrt(fan in)."""
    bound = 1 / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(draw.uniform(-bound, bound, size=shape)).float()


def normal(shape: tuple[int, ...], deviation: float, draw: np.random.Generator) -> Tensor:
    """N(0, deviation²)."""
    return torch.from_numpy(draw.normal(0, deviation, size=shape)).float()
