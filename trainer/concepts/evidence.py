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
_LEAST_GAIN = 0.02
"""Gains on the base's own pictures below it are none; shares of them would be of any size."""
_SAMPLES = 400
_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Side:
    """The same texts over some pictures: those of the dataset, or those that the base draws for its captions."""

    named: Errors
    """Under each picture's caption with the concept's name."""
    unnamed: Errors
    """Under it without the name; where nothing calls the concept, under the caption of another picture."""
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
    """What the decision follows from. A gain is a share of the error that is taken off, a mean over the timesteps, so that each
    counts the same though errors are largest where there is least noise."""

    distance: Estimate
    """Error of the dataset's pictures under their named captions, over that of the base's own pictures: 1 where the base would
    have drawn them itself. The largest of `distance_by_band`."""
    own_gain: Estimate
    """What the name takes off the error on the base's own pictures: about 0 where it means nothing to the base."""
    name_gain: Estimate
    """What the name takes off the error on the dataset's pictures, over `own_gain`: 1 where it says as much of them, 0 where it
    says nothing, below 0 where it misleads."""
    caption_gain: Estimate
    """The same of the whole caption against the empty text."""
    empty_distance: Estimate
    """Error under the empty text, over that of the base's own pictures."""
    distance_by_band: tuple[float, ...]
    """The distance in each of BANDS parts of the timesteps, the least noise first."""


Places = Sequence[int]
Statistic = Callable[[Places, Places], float]
"""A number of some pictures of the dataset and some of the base's own."""


def figures(evidence: Evidence) -> Figures:
    """Deterministic: the same evidence gives the same figures."""
    data, own = evidence.dataset, evidence.own

    def estimate(of: Statistic) -> Estimate:
        everyone = range(len(data.named)), range(len(own.named))
        draws = generator(0, "concept figures")
        sampled = [
            of(*(draws.integers(len(places), size=len(places)).tolist() for places in everyone))
            for _ in range(_SAMPLES)
        ]
        low, high = np.quantile(sampled, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
        return Estimate(of(*everyone), float(low), float(high))

    def share(without: Callable[[Side], Errors]) -> Statistic:
        def of(a: Places, b: Places) -> float:
            mine, theirs = _gain(data.named[a], without(data)[a]), _gain(own.named[b], without(own)[b])
            return mine / max(theirs, _LEAST_GAIN)

        return of

    def by_band(a: Places, b: Places) -> list[float]:
        bands = _bands(data.named.shape[1])
        return [_ratio(data.named[a][:, band].mean(), own.named[b][:, band].mean()) for band in bands]

    return Figures(
        distance=estimate(lambda a, b: max(by_band(a, b))),
        own_gain=estimate(lambda _, b: _gain(own.named[b], own.unnamed[b])),
        name_gain=estimate(share(lambda side: side.unnamed)),
        caption_gain=estimate(share(lambda side: side.nothing)),
        empty_distance=estimate(lambda a, b: _ratio(data.nothing[a].mean(), own.nothing[b].mean())),
        distance_by_band=tuple(by_band(range(len(data.named)), range(len(own.named)))),
    )


def _gain(named: Errors, without: Errors) -> float:
    """Share of the error that the text takes off, a mean over the timesteps."""
    return float((1 - named.mean(axis=0) / np.maximum(without.mean(axis=0), 1e-9)).mean())


def _bands(count: int) -> list[slice]:
    """BANDS equal parts of so many timesteps; of fewer, one each."""
    bands = min(BANDS, count)
    return [slice(band * count // bands, (band + 1) * count // bands) for band in range(bands)]


def _ratio(above: float, below: float) -> float:
    return float(above) / max(float(below), 1e-9)
