"""Which pictures are nearly the same. Pure; NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data_report.sharpness import Light

SKETCH = 16
"""Pixels a side of the small colour picture that is compared after the hashes."""
MOST_DIFFERENT_BITS = 14
"""Of 128, up to which two pictures may be the same: recompressed, resized, a little brighter or cropped by a few pixels."""
MOST_DIFFERENT_COLOUR = 0.06
"""Root mean square difference of the small pictures, 0 to 1, up to which they are: drawings of one kind share their hash."""

_DARKER = 1.5 / 255
_BLOCK = 512


@dataclass(frozen=True)
class Sketch:
    """What is compared of a picture."""

    bits: NDArray[np.uint64]
    """(2,): the difference hash along rows and along columns (N. Krawetz, "Kind of like that", 2013)."""
    mirrored_bits: NDArray[np.uint64]
    """The same of the picture mirrored left to right."""
    colours: NDArray[np.uint8]
    """(SKETCH, SKETCH, 3)"""


def difference_hash(light: Light) -> NDArray[np.uint64]:
    """Whether each of 9 × 8 cells is darker than its right, and of 8 × 9 than its lower neighbour: 64 bits each, (2,).

    By more than what compression does to an even ground, whose bits would else be chance.
    """
    across, down = _cells(light, 8, 9), _cells(light, 9, 8)
    bits = [(np.diff(across, axis=1) > _DARKER).ravel(), (np.diff(down, axis=0) > _DARKER).ravel()]
    return np.array([np.packbits(one).view(">u8")[0] for one in bits], dtype=np.uint64)


def near_duplicates(sketches: Sequence[Sketch]) -> list[list[int]]:
    """Groups of two or more pictures that are nearly the same, mirrored ones included, by their places in the sequence."""
    if len(sketches) < 2:
        return []
    bits = np.stack([sketch.bits for sketch in sketches])
    mirrored = np.stack([sketch.mirrored_bits for sketch in sketches])
    leader = list(range(len(sketches)))

    def first(place: int) -> int:
        while leader[place] != place:
            leader[place] = leader[leader[place]]
            place = leader[place]
        return place

    for start in range(0, len(sketches), _BLOCK):
        part = slice(start, start + _BLOCK)
        for others, flipped in ((bits, False), (mirrored, True)):
            different = np.bitwise_count(bits[part, None] ^ others[None]).sum(2)
            for place, other in np.argwhere(different <= MOST_DIFFERENT_BITS):
                one, two = int(place) + start, int(other)
                if one < two and _same_colours(sketches[one], sketches[two], flipped):
                    leader[first(two)] = first(one)
    groups: dict[int, list[int]] = {}
    for place in range(len(sketches)):
        groups.setdefault(first(place), []).append(place)
    return [group for group in groups.values() if len(group) > 1]


def _same_colours(one: Sketch, two: Sketch, flipped: bool) -> bool:
    mine, other = (sketch.colours.astype(np.float64) / 255 for sketch in (one, two))
    other = other[:, ::-1] if flipped else other
    # Without the mean of each channel: a little brighter is still the same picture.
    difference = (mine - mine.mean((0, 1))) - (other - other.mean((0, 1)))
    means = np.abs(mine.mean((0, 1)) - other.mean((0, 1))).max()
    return float(np.sqrt((difference**2).mean())) <= MOST_DIFFERENT_COLOUR and means <= 2 * MOST_DIFFERENT_COLOUR


def _cells(light: Light, rows: int, columns: int) -> Light:
    """Means over a grid of equal cells, (rows, columns); cells share the pixels at their edges."""
    return _means(_means(light, rows).T, columns).T


def _means(light: Light, parts: int) -> Light:
    """Means over `parts` equal ranges of rows, fractions of rows counted."""
    sums = np.concatenate([np.zeros((1, light.shape[1])), np.cumsum(light, 0)])
    edges = np.linspace(0, len(light), parts + 1)
    whole = edges.astype(np.int64)
    above = np.minimum(whole + 1, len(light))
    at = sums[whole] + (edges - whole)[:, None] * (sums[above] - sums[whole])
    means: Light = np.diff(at, axis=0) * (parts / len(light))
    return means


def small_colours(pixels: NDArray[np.uint8], side: int = SKETCH) -> NDArray[np.uint8]:
    """The picture as (side, side, 3), each pixel the mean of a cell."""
    channels = [_cells(pixels[..., channel].astype(np.float64), side, side) for channel in range(3)]
    return np.stack(channels, -1).round().astype(np.uint8)
