"""LoKr (Yeh et al., arXiv 2309.14859, sec. 3.3): ΔW = W1 ⊗ W2, with O = o1·o2 and I = i1·i2.

| tensor | linear, 1x1 | 3x3 | 3x3, Tucker |
|---|---|---|---|
| lokr_w1 | (o1, i1) | (o1, i1) | (o1, i1) |
| or lokr_w1_a, lokr_w1_b | (o1, r), (r, i1) | (o1, r), (r, i1) | (o1, r), (r, i1) |
| lokr_w2 | (o2, i2), of a 1x1 (o2, i2, 1, 1) | (o2, i2, 3, 3) | (o2, i2, 3, 3) |
| or lokr_w2_a, lokr_w2_b | (o2, r), (r, i2) | (o2, r), (r, i2·9) | (r, o2), (r, i2) |
| and lokr_t2 | | | (r, r, 3, 3) |

W2 is a product while r is below half its longer side, unless full matrices are asked for; W1 is only where that is asked for.
Where both are full there is no rank to divide alpha by: the strength is 1, and alpha states the rank that was asked for.

(W1 ⊗ W2) x is W2 on each of the i1 parts of x, and W1 across the parts, in either order: the product is never built.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.adapters.lora import Lora
from trainer.adapters.mathematics import Draw, Size, Tensors, apply, kaiming_uniform, places
from trainer.adapters.targets import Layer
from trainer.errors import TrainerError

_LORA = Lora()
"""What W2 is by itself, where it is a product."""


class Lokr:
    """See `mathematics.Kind`."""

    name = "LoKr"

    def initial(self, layer: Layer, size: Size, draw: Draw) -> dict[str, Tensor]:
        cut, rank, kernel = cut_of(layer, size), size.rank, layer.kernel or ()
        core = layer.is_spatial and size.tucker
        drawn: dict[str, tuple[int, ...]] = {"lokr_w1": (cut.o1, cut.i1)}
        if cut.small_is_product:
            drawn = {"lokr_w1_a": (cut.o1, rank), "lokr_w1_b": (rank, cut.i1)}
        if not cut.large_is_product:
            zeros = {"lokr_w2": torch.zeros(cut.o2, cut.i2, *kernel)}
        elif core:
            drawn |= {"lokr_w2_a": (rank, cut.o2), "lokr_t2": (rank, rank, *kernel)}
            zeros = {"lokr_w2_b": torch.zeros(rank, cut.i2)}
        else:
            drawn |= {"lokr_w2_a": (cut.o2, rank)}
            zeros = {"lokr_w2_b": torch.zeros(rank, cut.i2 * math.prod(kernel))}
        return {name: kaiming_uniform(shape, draw(name)) for name, shape in drawn.items()} | zeros

    def forward(self, x: Tensor, tensors: Tensors, layer: Layer, scale: float) -> Tensor:
        small = _small(tensors)
        o1, i1 = small.shape
        parts = x.flatten(0, -2) if layer.kernel is None else x
        read, written = places(x, layer)
        if large_is_first(
            small=(o1, i1),
            large=written * sum(tensor.numel() for name, tensor in tensors.items() if not name.startswith("lokr_w1")),
            entering=read * layer.inputs // i1,
            leaving=written * layer.outputs // o1,
        ):
            result = _across(_within(parts, i1, tensors, layer, scale), small)
        else:
            result = _within(_across(parts, small), o1, tensors, layer, scale)
        return result.view(*x.shape[:-1], layer.outputs) if layer.kernel is None else result

    def delta(self, tensors: Tensors, layer: Layer) -> Tensor:
        return torch.kron(*sides(tensors)).view(layer.shape)

    def low_rank(self, tensors: Tensors) -> tuple[Tensor, Tensor]:
        """The Kronecker products of the factors' own factors; a full one is itself one, beside the identity."""
        small, large = _factors(tensors, "lokr_w1"), _factors(tensors, "lokr_w2")
        # A Tucker core's outer matrix comes transposed, which torch's kron cannot read.
        return torch.kron(small[0], large[0].contiguous()), torch.kron(small[1], large[1])

    def rank(self, tensors: Tensors) -> int | None:
        product = tensors.get("lokr_w2_b", tensors.get("lokr_w1_b"))
        return None if product is None else product.shape[0]

    def thinned(self, tensors: Tensors, keep: Tensor) -> Tensors:  # noqa: ARG002 (a kind's method, refused here)
        raise TrainerError("LoKr has no rank components that could be left out; set adapter.rank_dropout to 0.")


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How a new adapter cuts a weight into W1 (o1, i1) and W2 (o2, i2), and which of them are products."""

    o1: int
    i1: int
    o2: int
    i2: int
    small_is_product: bool
    large_is_product: bool

    @property
    def is_full(self) -> bool:
        """No factor has a rank."""
        return not (self.small_is_product or self.large_is_product)


def cut_of(layer: Layer, size: Size) -> Cut:
    """The cut of a layer's weight."""
    (o1, o2), (i1, i2) = factorization(layer.outputs, size.factor), factorization(layer.inputs, size.factor)
    products = not size.full_matrix
    return Cut(
        o1=o1,
        i1=i1,
        o2=o2,
        i2=i2,
        small_is_product=products and size.decompose_both and size.rank < max(o1, i1) / 2,
        large_is_product=products and size.rank < max(o2, i2) / 2,
    )


def factorization(dimension: int, factor: int) -> tuple[int, int]:
    """A dimension as a smaller times a larger number, the smaller first.

    One of them is `factor` where that divides the dimension. Else the smaller is the largest divisor that is neither above the
    dimension's root nor above `factor`; -1 sets no such bound.
    """
    if factor > 0 and dimension % factor == 0:
        return min(factor, dimension // factor), max(factor, dimension // factor)
    root = math.isqrt(dimension)
    largest = root if factor < 0 else min(factor, root)
    smaller = next(number for number in range(largest, 0, -1) if dimension % number == 0)
    return smaller, dimension // smaller


def sides(tensors: Tensors) -> tuple[Tensor, Tensor]:
    """W1 (o1, i1) and W2 (o2, i2·k·k), whose Kronecker product is ΔW (O, I·k·k)."""
    if "lokr_w2" in tensors:
        return _small(tensors), tensors["lokr_w2"].flatten(1)
    left, right = _factors(tensors, "lokr_w2")
    return _small(tensors), left @ right


def large_is_first(*, small: tuple[int, int], large: int, entering: int, leaving: int) -> bool:
    """Whether W2 and then W1 takes no more multiplications than W1 and then W2.

    W1 is (o1, i1); `large` are the multiplications of W2 on one part, of which it meets i1 before W1 and o1 behind it; W1
    mixes all the numbers of a part, of which so many enter W2 and leave it.
    """
    o1, i1 = small
    return i1 * large + leaving * o1 * i1 <= entering * o1 * i1 + o1 * large


def _across(x: Tensor, small: Tensor) -> Tensor:
    """W1 on x (B, i1·n, …), taken as i1 parts: (B, o1·n, …)."""
    # bmm by name: matmul would copy x to fold the batch into one product, at twice the time.
    mixed = torch.bmm(small.expand(len(x), -1, -1), x.reshape(len(x), small.shape[1], -1))
    return mixed.view(len(x), -1, *x.shape[2:])


def _within(x: Tensor, parts: int, tensors: Tensors, layer: Layer, scale: float) -> Tensor:
    """scale · W2 on each part of x (B, parts·i2, …): (B, parts·o2, …)."""
    each = x.reshape(len(x) * parts, -1, *x.shape[2:])
    if "lokr_w2" in tensors:
        result = apply(each, tensors["lokr_w2"] * scale, layer)
    else:
        result = _LORA.forward(each, _large_as_lora(tensors, layer.kernel or ()), layer, scale)
    return result.reshape(len(x), -1, *result.shape[2:])


def _small(tensors: Tensors) -> Tensor:
    """W1. It is built even where it is a product: so small a matrix is applied faster than two thin ones."""
    return tensors["lokr_w1"] if "lokr_w1" in tensors else tensors["lokr_w1_a"] @ tensors["lokr_w1_b"]


def _large_as_lora(tensors: Tensors, kernel: tuple[int, ...]) -> dict[str, Tensor]:
    """W2 where it is a product, as the LoRA that it is."""
    up, down = tensors["lokr_w2_a"], tensors["lokr_w2_b"]
    if "lokr_t2" in tensors:
        return {"lora_down": down, "lora_mid": tensors["lokr_t2"], "lora_up": up.T}
    return {"lora_down": down.view(len(down), -1, *kernel), "lora_up": up}


def _factors(tensors: Tensors, side: str) -> tuple[Tensor, Tensor]:
    """Exact factors of W1 or W2."""
    if side in tensors:
        whole = tensors[side].flatten(1)
        rows, columns = whole.shape
        identity = torch.eye(min(rows, columns), dtype=whole.dtype, device=whole.device)
        return (identity, whole) if rows <= columns else (whole, identity)
    if side == "lokr_w1":
        return tensors["lokr_w1_a"], tensors["lokr_w1_b"]
    return _LORA.low_rank(_large_as_lora(tensors, ()))
