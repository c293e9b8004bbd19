"""How much the base model may be asked about the data: a share of what training costs, whatever the dataset's size. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.data_report.words import parts_of

SHARE = 0.1
"""Of the work of training, by passes through the UNet: at most so much is added to it."""
FOR_WHOLE_CAPTIONS = 0.75
"""Of that share; the rest is for asking about parts of what looks wrong."""
PASSES_OF_A_VISIT = 3
"""Training on a picture once is one pass forward, and one back that costs two."""
PASSES_OF_A_TEXT = 16
"""For one picture: 8 timesteps, a noise and its opposite."""
PASSES_OF_A_CAPTION = 2 * PASSES_OF_A_TEXT
"""With the caption and without."""
HELPS_LITTLE = 0.5
"""A caption's gain below which it is asked about part by part: one wrong word leaves the others their gain."""
MOST_PICTURES = 256
"""A larger sample says nothing more of the dataset; each picture that is looked at costs its time."""
_UNLIMITED = 10**9


@dataclass(frozen=True)
class Sample:
    """Which pictures the base model judges."""

    places: tuple[int, ...]
    why_not_all: str
    """A sentence; empty if these are all."""
    passes_for_parts: int
    """Passes through the UNet that captions may be asked about part by part."""


def sample(pictures: int, visits: int) -> Sample:
    """Of so many pictures, where training visits `visits` pictures in all: evenly from the first to the last."""
    affordable = int(FOR_WHOLE_CAPTIONS * passes(visits)) // PASSES_OF_A_CAPTION
    count = min(pictures, MOST_PICTURES, affordable)
    left = passes(visits) - count * PASSES_OF_A_CAPTION
    if count == pictures:
        return Sample(tuple(range(pictures)), "", left)
    if count == 0:
        why = f"The base model was not asked about the pictures: it would take over {SHARE:.0%} of the training."
        return Sample((), why, 0)
    limit = (
        "more would say little more" if count == MOST_PICTURES else f"more would take over {SHARE:.0%} of the training"
    )
    return Sample(
        evenly(pictures, count), f"The base model was asked about {count} of {pictures} pictures; {limit}.", left
    )


def unlimited(pictures: int) -> Sample:
    """Of so many pictures, where a report is all that was asked for."""
    if pictures <= MOST_PICTURES:
        return Sample(tuple(range(pictures)), "", _UNLIMITED)
    why = f"The base model was asked about {MOST_PICTURES} of {pictures} pictures; more would say little more."
    return Sample(evenly(pictures, MOST_PICTURES), why, _UNLIMITED)


def passes(visits: int) -> int:
    """Passes through the UNet that may be made of it."""
    return int(SHARE * PASSES_OF_A_VISIT * visits)


def suspected(gains: Sequence[float | None], captions: Sequence[str], most: int) -> list[int]:
    """Places of the captions that help little, the least helpful first, as far as `most` passes go for asking part by part."""
    doubtful = sorted((value, place) for place, value in enumerate(gains) if value is not None and value < HELPS_LITTLE)
    chosen: list[int] = []
    for _, place in doubtful:
        most -= passes_of_parts(captions[place])
        if most < 0:
            break
        if parts_of(captions[place]):
            chosen.append(place)
    return chosen


def passes_of_parts(caption: str) -> int:
    """What asking about a caption part by part takes."""
    return PASSES_OF_A_TEXT * (1 + len(parts_of(caption)))


def evenly(total: int, count: int) -> tuple[int, ...]:
    """`count` places of `total`, the same distance apart."""
    return tuple(place * total // count for place in range(count))
