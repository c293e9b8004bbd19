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


@dataclass(frozen=True)
class Interval:
    """A mean and the 95 % of the means of resampled values around it."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.1f} ({self.low:.1f} to {self.high:.1f})"


def bootstrap(values: Sequence[float], resamples: int = 10_000) -> Interval:
    """The percentile bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap, ch. 13) of a mean, from a fixed seed.

    Of five values it is narrower than what it means to be: read an interval that ends near a bound as one that holds it.
    """
    if len(values) < 2:
        raise ValueError(f"An interval needs 2 values or more, not {len(values)}.")
    drawn = np.random.Generator(np.random.Philox(key=[0, 4])).integers(len(values), size=(resamples, len(values)))
    means = np.asarray(values, dtype=float)[drawn].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(np.mean(values)), float(low), float(high))
