"""How much the base model may be asked about the data: a share of what training costs, whatever the dataset's size. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SHARE = 0.05
"""Of the work of training, by passes through the UNet."""
PASSES_OF_A_VISIT = 3
"""Training on a picture once is one pass forward, and one back that costs two."""
PASSES_OF_A_CAPTION = 32
"""For one picture: 8 timesteps, a noise and its opposite, with the caption and without."""
MOST_PICTURES = 256
"""A larger sample says nothing more of the dataset; each picture that is looked at costs its time."""


@dataclass(frozen=True)
class Sample:
    """Which pictures the base model judges."""

    places: tuple[int, ...]
    why_not_all: str
    """A sentence; empty if these are all."""


def sample(pictures: int, visits: int) -> Sample:
    """Of so many pictures, where training visits `visits` pictures in all: evenly from the first to the last."""
    affordable = int(SHARE * PASSES_OF_A_VISIT * visits / PASSES_OF_A_CAPTION)
    count = min(pictures, MOST_PICTURES, affordable)
    if count == pictures:
        return Sample(tuple(range(pictures)), "")
    limit = (
        "more would say little more" if count == MOST_PICTURES else f"more would take over {SHARE:.0%} of the training"
    )
    if count == 0:
        return Sample(
            (), f"The base model was not asked about the pictures: it would take over {SHARE:.0%} of the training."
        )
    return Sample(evenly(pictures, count), f"The base model was asked about {count} of {pictures} pictures; {limit}.")


def evenly(total: int, count: int) -> tuple[int, ...]:
    """`count` places of `total`, the same distance apart."""
    return tuple(place * total // count for place in range(count))


def timesteps(total: int, count: int = 8) -> Sequence[int]:
    """The middles of `count` equal parts of the timesteps 0 to `total` - 1."""
    return tuple((2 * part + 1) * total // (2 * count) for part in range(count))
