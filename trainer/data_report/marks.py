"""A mark that many pictures carry at the same place near their border, such as a watermark. Pure; NumPy only.

What differs from picture to picture has edges in all directions, so that their median is none; what is always there stays
(Dekel et al., "On the effectiveness of visible watermarks", CVPR 2017, sec. 3.1).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data_report.budget import evenly
from trainer.data_report.likeness import small_colours
from trainer.data_report.sharpness import light_of

SIDE = 48
"""Pixels a side of the small picture that marks are looked for in."""
LEAST_PICTURES = 12
"""Of fewer, a common edge may be chance."""
_BORDER = 0.25
"""Of each side: the zone that is looked at. The middle is where the concept is, which pictures may well share."""
_EDGE = 0.03
"""Strength of the median edge, in light a pixel, from which it counts."""
_LEAST_EDGES = 10
_MOST_AT_ONCE = 512
"""Pictures that the median is taken of: more cost memory and change nothing."""
_ALIKE = 0.8
"""Cosine of the angle between the edges of two halves of the pictures from which they are the same."""
_CARRIES = 0.4
"""Correlation with the mark from which a picture carries it."""


def edges_near_border(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The gradient (2, SIDE, SIDE) of the small picture, 0 outside the zone near the border."""
    light = light_of(small_colours(pixels, SIDE))
    gradient = np.stack([np.gradient(light, axis=0), np.gradient(light, axis=1)]).astype(np.float32)
    inner = round(SIDE * _BORDER)
    gradient[:, inner:-inner, inner:-inner] = 0
    # Cut pictures have no outline; a frame has one, and is found by itself.
    gradient[:, [0, 1, -2, -1]] = 0
    gradient[:, :, [0, 1, -2, -1]] = 0
    return gradient


def carriers(edges: Sequence[NDArray[np.floating[Any]]], copies: Collection[int] = ()) -> list[int]:
    """The pictures that carry a common mark, by their place in `edges`, (2, SIDE, SIDE) each; none where there is no mark.

    `copies` are places of pictures that are nearly the same as others: what they share with those is no mark.
    """
    different = [place for place in range(len(edges)) if place not in copies]
    if len(different) < LEAST_PICTURES:
        return []
    # What chance has put into one half of the pictures is not in the other.
    one, other = (_median(edges, half) for half in (different[::2], different[1::2]))
    strengths = np.hypot(*one), np.hypot(*other)
    along = (one * other).sum(0) > _ALIKE * strengths[0] * strengths[1]
    strong = along & (np.minimum(*strengths) > _EDGE)
    if strong.sum() < _LEAST_EDGES:
        return []
    shape = ((one + other) / 2)[:, strong].ravel()
    parts = np.stack([each[:, strong].ravel().astype(np.float32) for each in edges])
    likeness = parts @ shape / (np.linalg.norm(parts, axis=1) * np.linalg.norm(shape) + 1e-9)
    found = [int(place) for place in np.flatnonzero(likeness > _CARRIES)]
    # A median is what the majority has: if that carries nothing, the few that look like it do so by chance.
    return found if 2 * len(found) > len(edges) else []


def _median(edges: Sequence[NDArray[np.floating[Any]]], places: Sequence[int]) -> NDArray[np.float32]:
    chosen = evenly(len(places), min(len(places), _MOST_AT_ONCE))
    median: NDArray[np.float32] = np.median(
        np.stack([edges[places[place]] for place in chosen]).astype(np.float32), axis=0
    )
    return median
