"""LoHa (Hyeon-Woo et al., FedPara, arXiv 2108.06098, sec. 2): ΔW = (W1a · W1b) ⊙ (W2a · W2b), of rank up to r².

| tensor | linear, 1x1 | 3x3 | 3x3, Tucker |
|---|---|---|---|
| hada_w1_a, hada_w2_a | (O, r) | (O, r) | (r, O) |
| hada_w1_b, hada_w2_b | (r, I) | (r, I·9) | (r, I) |
| hada_t1, hada_t2 | | | (r, r, 3, 3) |

The product has exact factors of inner size r² (Slyusar, A family of face products of matrices, 1999): with s and t over the
ranks, A[o, st] = W1a[o, s] · W2a[o, t] and B[st, j] = W1b[s, j] · W2b[t, j] give A · B = ΔW. Applying B and A in turn takes less
than building ΔW while r² is small.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.adapters.lora import contracted
from trainer.adapters.mathematics import Draw, Size, Tensors, apply, normal, places, pointwise
from trainer.adapters.targets import Layer


class Loha:
    """See `mathematics.Kind`."""

    name = "LoHa"

    def initial(self, layer: Layer, size: Size, draw: Draw) -> dict[str, Tensor]:
        rank, core = size.rank, layer.is_spatial and size.tucker
        columns = layer.inputs if core else layer.columns
        outer, inner = (rank, layer.outputs) if core else (layer.outputs, rank), (rank, columns)
        tensors = {
            "hada_w1_a": normal(outer, 0.1, draw("hada_w1_a")),
            "hada_w1_b": normal(inner, 1.0, draw("hada_w1_b")),
            "hada_w2_a": torch.zeros(outer),
            "hada_w2_b": normal(inner, 1.0, draw("hada_w2_b")),
        }
        cores = ("hada_t1", "hada_t2") if core else ()
        return tensors | {name: normal((rank, rank, *(layer.kernel or ())), 0.1, draw(name)) for name in cores}

    def forward(self, x: Tensor, tensors: Tensors, layer: Layer, scale: float) -> Tensor:
        (first, inner), second = _product(tensors, 1), _product(tensors, 2)
        scaled = (first * scale, inner)
        if in_turn_is_cheaper(layer.outputs, layer.columns, inner.shape[0], places(x, layer)[1]):
            left, right = _face_products(scaled, second)
            return pointwise(apply(x, right.view(-1, *layer.shape[1:]), layer), left, layer)
        return apply(x, _hadamard(scaled, second).view(layer.shape), layer)

    def delta(self, tensors: Tensors, layer: Layer) -> Tensor:
        return _hadamard(_product(tensors, 1), _product(tensors, 2)).view(layer.shape)

    def low_rank(self, tensors: Tensors) -> tuple[Tensor, Tensor]:
        return _face_products(_product(tensors, 1), _product(tensors, 2))

    def rank(self, tensors: Tensors) -> int:
        return tensors["hada_w1_b"].shape[0]

    def thinned(self, tensors: Tensors, keep: Tensor) -> Tensors:
        """The rank components of the first product are what is kept or left out."""
        first = tensors["hada_w1_a"]
        return {**tensors, "hada_w1_a": first * (keep[:, None] if "hada_t1" in tensors else keep)}


def in_turn_is_cheaper(outputs: int, columns: int, rank: int, places: int) -> bool:
    """Whether A and B, built and applied at this many places, take fewer multiplications than ΔW (outputs, columns) does.

    The backward pass takes twice as many of either, so that it changes nothing.
    """
    in_turn = (1 + places) * rank**2 * (outputs + columns)
    whole = (2 * rank + 1 + places) * outputs * columns
    return in_turn < whole


def _product(tensors: Tensors, which: int) -> tuple[Tensor, Tensor]:
    """(O, r) and (r, I·k·k), whose product is one side of the Hadamard product."""
    outer, inner = tensors[f"hada_w{which}_a"], tensors[f"hada_w{which}_b"]
    core = tensors.get(f"hada_t{which}")
    if core is None:
        return outer, inner
    return outer.T, contracted(core, inner)


def _hadamard(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
    return (first[0] @ first[1]) * (second[0] @ second[1])


def _face_products(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """A (O, r²) and B (r², I·k·k)."""
    left = first[0][:, :, None] * second[0][:, None, :]
    right = first[1][:, None] * second[1][None]
    return left.flatten(1), right.flatten(0, 1)
