"""Bars and frames around a picture, which an adapter would learn too. Pure; NumPy only."""

from __future__ import annotations

import numpy as np

from trainer.data_report.sharpness import Light

_FLAT = 2.5 / 255
"""Deviation of a row's light up to which it is one colour, noise of JPEG included."""
_STEP = 12 / 255
"""Difference of light that counts as an edge."""
_LONG = 0.6
"""Share of a row that must have an edge for the bar to end there: a thing on a plain ground touches only a part of a row."""


def bars(light: Light) -> tuple[float, float, float, float]:
    """Shares of the sides that bars of one colour take at left, top, right and bottom; 0 where there is none."""
    height, width = light.shape
    top, bottom = _bar(light) / height, _bar(light[::-1]) / height
    left, right = _bar(light.T) / width, _bar(light.T[::-1]) / width
    return left, top, right, bottom


def _bar(light: Light) -> int:
    """Rows from the top that are one colour and end in an edge along most of the picture."""
    rows = min(len(light) // 2, len(light) - 1)
    for row in range(rows):
        here, below = light[row], light[row + 1]
        if here.std() > _FLAT or abs(here.mean() - light[0].mean()) > _FLAT:
            return 0
        if (np.abs(below - here) > _STEP).mean() > _LONG:
            return row + 1
    return 0
