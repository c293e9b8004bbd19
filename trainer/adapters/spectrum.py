"""Norms and the singular value decomposition of a layer's change, by the structure of its tensors.

ΔW is taken as a matrix (O, I·k·k) in fp64. It is never built where its factors are smaller:

- factors A (O, q) · B (q, I·k·k) are reduced by the QR decompositions of A and Bᵀ to a core (q, q), whose decomposition is
  theirs (Golub and Van Loan, Matrix Computations, sec. 5.2 and 8.6);
- of a Kronecker product W1 ⊗ W2 the singular values are the products of those of W1 and W2, and the singular vectors the
  Kronecker products of theirs (Van Loan, The ubiquitous Kronecker product, 2000, sec. 2);
- a matrix without structure is decomposed by the eigenvalues of the Gram matrix of its smaller side, which are the squares of
  its singular values; they are right to 1e-8 of the largest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.adapters.lokr import Lokr, sides
from trainer.adapters.weights import LayerWeights

NEGLIGIBLE = 1e-7
"""Singular values below this share of the largest are noise of fp32, and taken as 0."""


@dataclass(frozen=True)
class Spectrum:
    """Singular values of a matrix, and its singular vectors when they are asked for."""

    values: Tensor
    """(q,), fp64, falling; those that are negligible are left out, so that it is empty for a matrix of zeros."""
    vectors: Callable[[int], tuple[Tensor, Tensor]]
    """The first n left vectors (O, n) and right vectors (n, I·k·k)."""

    def turned(self) -> Spectrum:
        """That of the transposed matrix."""

        def vectors(n: int) -> tuple[Tensor, Tensor]:
            left, right = self.vectors(n)
            return right.T, left.T

        return Spectrum(self.values, vectors)


def spectrum_of(weights: LayerWeights) -> Spectrum:
    """Of scale · ΔW of an adapted layer, computed on the CPU, so that the device makes no difference."""
    if isinstance(weights.kind, Lokr):
        return _of_kronecker(*sides(_doubles(weights)), weights.scale)
    left, right = factors_of(weights)
    return of_factors(left, right) if _is_thin(left, right) else of_matrix(_whole(weights))


def factors_of(weights: LayerWeights) -> tuple[Tensor, Tensor]:
    """A (O, q) and B (q, I·k·k) with A · B = scale · ΔW, fp64, on the CPU."""
    left, right = weights.kind.low_rank(_doubles(weights))
    return left * weights.scale, right


def norm_of(weights: LayerWeights) -> float:
    """Frobenius norm of scale · ΔW."""
    if isinstance(weights.kind, Lokr):
        small, large = sides(_doubles(weights))
        return abs(weights.scale) * float(small.norm() * large.norm())
    left, right = factors_of(weights)
    return _norm(left, right) if _is_thin(left, right) else float(_whole(weights).norm())


def distance(first: LayerWeights, second: LayerWeights) -> float:
    """Frobenius norm of the difference of two changes of the same layer."""
    # The factors of a Kronecker product can be as large as the product.
    if not any(isinstance(weights.kind, Lokr) for weights in (first, second)):
        (left, right), (other_left, other_right) = factors_of(first), factors_of(second)
        both = torch.cat([left, -other_left], dim=1), torch.cat([right, other_right])
        if _is_thin(*both):
            return _norm(*both)
    return float((_whole(first) - _whole(second)).norm())


def of_factors(left: Tensor, right: Tensor) -> Spectrum:
    """Of left (O, q) · right (q, N), for q below O and N."""
    left_basis, left_core = torch.linalg.qr(left)
    right_basis, right_core = torch.linalg.qr(right.T)
    u, values, v = torch.linalg.svd(left_core @ right_core.T)
    return Spectrum(_significant(values), lambda n: (left_basis @ u[:, :n], v[:n] @ right_basis.T))


def of_matrix(matrix: Tensor) -> Spectrum:
    """Of any matrix (O, N)."""
    if matrix.shape[0] > matrix.shape[1]:
        return of_matrix(matrix.T).turned()
    squares, vectors = torch.linalg.eigh(matrix @ matrix.T)
    values, left = squares.clamp(min=0).sqrt().flip(0), vectors.flip(1)
    return Spectrum(_significant(values), lambda n: (left[:, :n], left[:, :n].T @ matrix / values[:n, None]))


def _of_kronecker(small: Tensor, large: Tensor, scale: float) -> Spectrum:
    """Of scale · small ⊗ large; the large one's columns may be those of a kernel."""
    (u1, s1, v1), (u2, s2, v2) = (torch.linalg.svd(side, full_matrices=False) for side in (small, large))
    values, order = torch.outer(s1, s2).flatten().mul(abs(scale)).sort(descending=True, stable=True)

    def vectors(n: int) -> tuple[Tensor, Tensor]:
        first, second = order[:n] // len(s2), order[:n] % len(s2)
        left = (u1[:, None, first] * u2[None, :, second]).flatten(0, 1)
        right = (v1[first, :, None] * v2[second, None, :]).flatten(1)
        return left if scale >= 0 else -left, right

    return Spectrum(_significant(values), vectors)


def _doubles(weights: LayerWeights) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().double() for name, tensor in weights.tensors.items()}


def _is_thin(left: Tensor, right: Tensor) -> bool:
    """Whether the factors are smaller than their product on either side."""
    return left.shape[1] < min(left.shape[0], right.shape[1])


def _whole(weights: LayerWeights) -> Tensor:
    """scale · ΔW as a matrix, fp64, on the CPU."""
    return weights.delta(torch.float64).cpu().flatten(1)


def _norm(left: Tensor, right: Tensor) -> float:
    """Of left (O, q) · right (q, N), for q below O and N."""
    cores = [torch.linalg.qr(side, mode="r").R for side in (left, right.T)]
    return float((cores[0] @ cores[1].T).norm())


def _significant(values: Tensor) -> Tensor:
    return values[values > NEGLIGIBLE * values[:1]]
