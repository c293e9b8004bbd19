"""What was measured of a concept, as plain numbers, and what follows from them with their intervals. Pure.

Shapes: N pictures, T timesteps (each measured with a noise and its opposite).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.concepts.naming import Naming
from trainer.draws import generator

Errors = NDArray[np.float64]
"""(N, T): mean squared error of the base's prediction."""

BANDS = 4
"""Equal parts of the timesteps, the least noise first."""
_SAMPLES = 400
_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Side:
    """The same texts over some pictures: those of the dataset, or those that the base draws for its captions."""

    named: Errors
    """Under each picture's caption with the concept's name."""
    unnamed: Errors
    """Under it without the name; where nothing calls the concept, as `nothing`."""
    name_alone: Errors
    """Under the name and nothing else; where nothing calls it, as `nothing`."""
    nothing: Errors
    """Under the empty text."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Two sides at the same texts, timesteps and noises."""

    naming: Naming
    """Of the pictures that were measured."""
    places: tuple[int, ...]
    """Which of the dataset's pictures these are."""
    timesteps: tuple[int, ...]
    dataset: Side
    own: Side
    """What the base itself draws for the named captions: where "known" lies on this scale for this base."""


@dataclass(frozen=True)
class Estimate:
    """A number with its interval: 95 %, by drawing pictures with replacement (Efron, 1979, the percentile bootstrap)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What the decision follows from."""

    distance: Estimate
    """Error of the dataset's pictures under their named captions, over that of the base's own pictures: 1 where the base would
    have drawn them itself."""
    name_gain: Estimate
    """How much the name lessens the error on the dataset's pictures, over how much it does on the base's own: 1 where it says as
    much of them, 0 where it says nothing, below 0 where it misleads."""
    caption_gain: Estimate
    """The same of the whole caption against the empty text."""
    empty_distance: Estimate
    """Error under the empty text, over that of the base's own pictures."""
    distance_by_band: tuple[float, ...]
    """`distance` in each of BANDS parts of the timesteps, the least noise first."""


def figures(evidence: Evidence) -> Figures:
    """Deterministic: the same evidence gives the same figures."""
    data, own = evidence.dataset, evidence.own

    def estimate(of: Callable[[Sequence[int], Sequence[int]], float]) -> Estimate:
        everyone = range(len(data.named)), range(len(own.named))
        draws = generator(0, "concept figures")
        sampled = [
            of(*(draws.integers(len(places), size=len(places)).tolist() for places in everyone))
            for _ in range(_SAMPLES)
        ]
        low, high = np.quantile(sampled, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
        return Estimate(of(*everyone), float(low), float(high))

    def gain(without: Callable[[Side], Errors]) -> Callable[[Sequence[int], Sequence[int]], float]:
        mine, theirs = ((without(side) - side.named).mean(axis=1) / 1.0 for side in (data, own))
        return lambda a, b: _ratio(mine[a].mean(), theirs[b].mean())

    return Figures(
        distance=estimate(lambda a, b: _ratio(data.named[a].mean(), own.named[b].mean())),
        name_gain=estimate(gain(lambda side: side.unnamed)),
        caption_gain=estimate(gain(lambda side: side.nothing)),
        empty_distance=estimate(lambda a, b: _ratio(data.nothing[a].mean(), own.nothing[b].mean())),
        distance_by_band=tuple(
            _ratio(data.named[:, band].mean(), own.named[:, band].mean()) for band in _bands(len(evidence.timesteps))
        ),
    )


def _bands(count: int) -> list[slice]:
    return [slice(band * count // BANDS, (band + 1) * count // BANDS) for band in range(BANDS)]


def _ratio(above: float, below: float) -> float:
    return float(above) / max(float(below), 1e-9)
