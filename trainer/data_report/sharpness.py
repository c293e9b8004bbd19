"""How sharp a picture is. Pure; NumPy only. Light is (H, W), 0 to 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Light = NDArray[np.floating[Any]]

_WINDOW = 11
"""Pixels of the mean that a picture is blurred with, as in the paper."""


def light_of(pixels: NDArray[np.uint8]) -> Light:
    """The luma (ITU-R BT.601) of pixels (H, W, 3)."""
    light: Light = pixels.astype(np.float32) @ np.array((0.299, 0.587, 0.114), np.float32) / np.float32(255)
    return light


def laplacian_variance(light: Light) -> float:
    """Variance of the Laplacian, on the scale of 8 bits (Pech-Pacheco et al., ICPR 2000).

    High where there is much fine detail: a blurred picture has little, but so has a sharp one of few things.
    """
    if min(light.shape) < 3:
        return 0.0
    around = light[:-2, 1:-1] + light[2:, 1:-1] + light[1:-1, :-2] + light[1:-1, 2:]
    return float((255 * (around - 4 * light[1:-1, 1:-1])).var())


def blur(light: Light) -> float:
    """How little it changes a picture to blur it once more, 0 to 1 (Crété et al., "The blur effect", SPIE 6492, 2007).

    It follows how soft the edges are, whatever their number; above about 0.5 people see the blur.
    """
    return max(_blur_along(light), _blur_along(light.T))


def _blur_along(light: Light) -> float:
    if light.shape[0] <= 2 * _WINDOW:
        return 0.0
    padded = np.pad(light, ((_WINDOW // 2 + 1, _WINDOW // 2), (0, 0)), mode="edge")
    sums = np.cumsum(padded, 0)
    blurred = (sums[_WINDOW:] - sums[:-_WINDOW]) / _WINDOW
    before, after = np.abs(np.diff(light, axis=0)), np.abs(np.diff(blurred, axis=0))
    total = before.sum()
    return 0.0 if total == 0 else float((total - np.maximum(before - after, 0).sum()) / total)
