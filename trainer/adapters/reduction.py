"""Any adapter as plain LoRA of at most a given rank, by truncated singular value decomposition.

Cutting to the largest singular values loses least, in Frobenius norm, of all changes of that rank (Eckart and Young, The
approximation of one matrix by another of lower rank, 1936); what is lost is the root of the sum of the other values' squares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.adapters.lora import Lora
from trainer.adapters.spectrum import Spectrum, norm_of, spectrum_of
from trainer.adapters.targets import Layer
from trainer.adapters.weights import LayerWeights


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """What became of one layer. Norms are Frobenius norms of scale · ΔW."""

    name: str
    rank: int
    """Of the plain LoRA."""
    whole: float
    """Norm before."""
    lost: float
    """Norm of the difference."""

    @property
    def kept_energy(self) -> float:
        """Share of the sum of squared singular values, in [0, 1]."""
        return kept_energy([self])

    @property
    def error(self) -> float:
        """Relative: lost / whole, in [0, 1]."""
        return relative_error([self])


def kept_energy(reductions: Sequence[Reduction]) -> float:
    """Of several layers together, in [0, 1]; 1 where there was nothing to lose."""
    return 1.0 - relative_error(reductions) ** 2


def relative_error(reductions: Sequence[Reduction]) -> float:
    """Of several layers together: ||lost|| / ||whole||, in [0, 1]."""
    whole = math.hypot(*(reduction.whole for reduction in reductions))
    return math.hypot(*(reduction.lost for reduction in reductions)) / whole if whole else 0.0


def rank_for_energy(values: Tensor, share: float, largest: int) -> int:
    """The lowest rank whose singular values (q,), falling, hold `share` of the energy, at least 1 and at most `largest`."""
    energy = values.double().square().cumsum(0)
    if share >= 1 or not len(energy):
        return max(1, min(len(energy), largest))
    enough = int(torch.searchsorted(energy, share * energy[-1])) + 1
    return min(enough, len(energy), largest)


def to_lora(weights: LayerWeights, largest_rank: int, share: float = 1.0) -> tuple[LayerWeights, Reduction]:
    """A layer as plain LoRA of strength 1, and what it lost.

    The rank is the lowest that keeps `share` of the energy, at most `largest_rank`. down is (r, I) or (r, I, k, k), up (O, r)
    or (O, r, 1, 1), each with the root of the singular values, in fp32. A plain LoRA that keeps all is returned as it is.
    """
    if is_plain(weights) and share >= 1 and (weights.rank or 0) <= largest_rank:
        return weights, Reduction(name=weights.name, rank=weights.rank or 0, whole=norm_of(weights), lost=0.0)
    spectrum = spectrum_of(weights)
    rank = rank_for_energy(spectrum.values, share, largest_rank)
    tensors = lora_tensors(spectrum, weights.layer, rank)
    return weights.with_tensors(tensors, alpha=float(rank)), reduction_of(weights.name, spectrum, rank)


def is_plain(weights: LayerWeights) -> bool:
    """Whether it is a LoRA without a Tucker core, which every program loads."""
    return isinstance(weights.kind, Lora) and "lora_mid" not in weights.tensors


def reduced(
    layers: Sequence[LayerWeights], largest_rank: int, share: float = 1.0, *, largest_conv_rank: int | None = None
) -> tuple[list[LayerWeights], list[Reduction]]:
    """`to_lora` of every layer, in their order; convolutions wider than 1x1 can have a largest rank of their own."""
    conv_rank = largest_rank if largest_conv_rank is None else largest_conv_rank
    pairs = [to_lora(weights, conv_rank if weights.layer.is_spatial else largest_rank, share) for weights in layers]
    return [weights for weights, _ in pairs], [reduction for _, reduction in pairs]


def reduction_of(name: str, spectrum: Spectrum, rank: int) -> Reduction:
    """What a layer loses when it is cut to this rank."""
    values = spectrum.values
    return Reduction(name=name, rank=rank, whole=float(values.norm()), lost=float(values[rank:].norm()))


def lora_tensors(spectrum: Spectrum, layer: Layer, rank: int) -> dict[str, Tensor]:
    """The first `rank` singular triples as a plain LoRA of strength 1; zeros of rank 1 for a matrix of zeros."""
    point = () if layer.kernel is None else (1, 1)
    if not len(spectrum.values):
        return {
            "lora_down": torch.zeros(1, layer.inputs, *(layer.kernel or ())),
            "lora_up": torch.zeros(layer.outputs, 1, *point),
        }
    left, right = spectrum.vectors(rank)
    root = spectrum.values[:rank].sqrt()
    return {
        "lora_down": (root[:, None] * right).float().reshape(rank, layer.inputs, *(layer.kernel or ())).contiguous(),
        "lora_up": (left * root).float().reshape(layer.outputs, rank, *point).contiguous(),
    }
