"""Where a resized picture is cut to fill its bucket, beyond the middle. Pure; NumPy only.

All sizes are in pixels; a box is (left, top, right, bottom) of the resized picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.data.buckets import Fit

Box = tuple[int, int, int, int]

SKETCH = 96
"""Longest side of the small picture that detail is looked for in."""
_TILES = 8
"""Pixels a side of the tiles whose entropy is taken, in the small picture."""
_MIDDLE = 0.15
"""How much less detail counts at the picture's edge than in its middle: photographers put things there."""


def slack(fit: Fit) -> tuple[int, int]:
    """How far a crop can be moved to the right and down from the upper left corner."""
    return fit.resize[0] - fit.bucket.width, fit.resize[1] - fit.bucket.height


def spread(fit: Fit, count: int) -> tuple[Box, ...]:
    """At most `count` places, evenly from one end of the picture to the other; one where there is nothing to move.

    They follow from the sizes alone, so that their latents are shared by jobs of every seed.
    """
    across, down = slack(fit)
    places = [(round(across * k / (count - 1)), round(down * k / (count - 1))) for k in range(count)]
    return tuple(_at(fit, left, top) for left, top in dict.fromkeys(places))


def richest(fit: Fit, detail: NDArray[np.float64]) -> Box:
    """The place with most of the picture's detail (H, W) in it; of equal ones that nearest to the middle."""
    across, down = slack(fit)
    left = _best_offset(detail.sum(0), fit.resize[0], fit.bucket.width) if across else 0
    top = _best_offset(detail.sum(1), fit.resize[1], fit.bucket.height) if down else 0
    return _at(fit, left, top)


def sketch_size(width: int, height: int) -> tuple[int, int]:
    """The size of the small picture that detail is looked for in; never larger than the picture."""
    scale = min(1.0, SKETCH / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def detail_of(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Where a small picture (H, W, 3) has detail, (H, W), at least 0: strength of edges times the entropy around them.

    Edges alone would follow a fence or a horizon, entropy alone grass and noise; their product follows things.
    """
    light = pixels.astype(np.float64) @ (0.299, 0.587, 0.114) / 255
    edges = np.hypot(*np.gradient(np.pad(light, 1, mode="edge")))[1:-1, 1:-1]
    height, width = light.shape
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    detail: NDArray[np.float64] = edges * _entropy(light) * (1 - _MIDDLE * np.maximum(np.abs(x), np.abs(y)))
    return detail


def _entropy(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shannon entropy of 16 grey levels in the tile of each pixel, 0 to 1."""
    levels = np.minimum((light * 16).astype(np.int64), 15)
    height, width = light.shape
    rows, columns = np.arange(height) // _TILES, np.arange(width) // _TILES
    tiles = rows[:, None] * (columns[-1] + 1) + columns[None]
    counts = np.bincount((tiles * 16 + levels).ravel(), minlength=(tiles.max() + 1) * 16).reshape(-1, 16)
    shares = counts / counts.sum(1, keepdims=True)
    entropy = -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(1) / 4
    found: NDArray[np.float64] = entropy[tiles]
    return found


def _best_offset(profile: NDArray[np.float64], length: int, window: int) -> int:
    """Where a window of `window` of `length` pixels holds most of the profile, which may be coarser than pixels."""
    edges = np.concatenate([[0.0], np.cumsum(profile)])
    offsets = np.arange(length - window + 1)
    scale = len(profile) / length

    def until(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        inside: NDArray[np.float64] = np.interp(pixels * scale, np.arange(len(edges)), edges)
        return inside

    held = until((offsets + window).astype(np.float64)) - until(offsets.astype(np.float64))
    middle = (length - window) / 2
    # Rounded: sums of floats must not decide between places that are equally good.
    order = np.lexsort((np.abs(offsets - middle), -np.round(held, 6)))
    return int(offsets[order[0]])


def _at(fit: Fit, left: int, top: int) -> Box:
    return left, top, left + fit.bucket.width, top + fit.bucket.height
