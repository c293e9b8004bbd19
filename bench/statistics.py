"""Means over seeds, and how sure they are. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval, by Student's t over the values: mean ± half."""

    mean: float
    half: float

    def __str__(self) -> str:
        return f"{self.mean:.1f} ± {self.half:.1f}"

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        return abs(self.mean) > self.half


def estimate(values: Sequence[float]) -> Estimate:
    """Of one value a seed, 2 or more; few seeds give wide intervals, as they must."""
    if len(values) < 2:
        raise ValueError(f"An interval needs 2 values or more, not {len(values)}.")
    deviation = float(np.std(values, ddof=1))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * deviation / np.sqrt(len(values))
    return Estimate(float(np.mean(values)), float(half))


def paired(values: Sequence[float], others: Sequence[float]) -> Estimate:
    """Of the differences, seed by seed: what the seeds have in common falls out."""
    return estimate([value - other for value, other in zip(values, others, strict=True)])
