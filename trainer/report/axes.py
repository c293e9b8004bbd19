"""The geometry of a line chart: round ticks, a smoothed curve, and SVG paths of few points.

Arrays are one-dimensional float64 and may hold values that are not numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Places = NDArray[np.intp]

MOST_COLUMNS = 300
"""A raw curve is drawn by the lowest and highest value of at most this many equal ranges of steps."""

STEPS_OF_TICKS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A linear scale: `low` and `high` in the data's unit lie at `start` and `end` in the drawing's."""

    low: float
    high: float
    start: float
    end: float

    def place(self, values: Values) -> Values:
        """Where values stand in the drawing; values outside the axis stand at its end."""
        share = (np.clip(values, self.low, self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int, *, whole: bool = False) -> list[tuple[float, str]]:
        """(place, text) of at most `most` round values."""
        step = round_step((self.high - self.low) / most, whole=whole)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        values = [step * index for index in range(first, last + 1)]
        return [(float(self.place(np.array(value))), tick_text(value, step)) for value in values]


def round_step(least: float, *, whole: bool = False) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is not below `least`; whole numbers only if `whole`."""
    power = 10.0 ** math.floor(math.log10(least))
    choices = [factor * power for factor in STEPS_OF_TICKS if not (whole and (factor == 2.5 or factor * power < 1))]
    return next((choice for choice in choices if choice >= least * (1 - 1e-9)), 1.0)


def tick_text(value: float, step: float) -> str:
    """A tick's label with as many digits as its step needs: "0.05", "2k", "5e-5"."""
    if abs(value) < step * 1e-6:
        return "0"
    if step >= 1000:
        return f"{value / 1000:g}k" if abs(value) < 1e6 else f"{value / 1e6:g}M"
    if step < 1e-3:  # the labels that people write for rates, and that there is room for
        power = math.floor(math.log10(abs(value)) + 1e-9)
        return f"{value / 10.0**power:.3g}e{power}"
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    # A step of 2.5 needs one digit more than its power of ten says.
    digits += round(step * 10.0**digits, 6) % 1 != 0
    return f"{value:.{digits}f}"


def window_for(count: int, share: float) -> int:
    """An odd number of values, about `share` of all, at least 5."""
    return max(5, int(count * share)) // 2 * 2 + 1


def evenly(count: int) -> Places:
    """At most MOST_COLUMNS of the places 0 to `count` - 1, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_COLUMNS)).round().astype(np.intp))


def smoothed(values: Values, window: int, places: Places) -> Values:
    """At each place the mean of the finite values within `window` (odd) places around it, cut at the ends.

    Each mean is summed by itself: a running sum would lose all digits behind one huge value.
    """
    half = window // 2
    parts = (values[max(place - half, 0) : place + half + 1] for place in places)
    finite = (part[np.isfinite(part)] for part in parts)
    return np.array([part.mean() if part.size else math.nan for part in finite], dtype=np.float64)


def top_of(values: Values) -> float:
    """The top of a y axis: the highest value, or less where a few outliers (2 % at most) would flatten the rest."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return math.nan
    usual, highest = float(np.quantile(finite, 0.98)), float(finite.max())
    return highest if highest <= 2.5 * usual else 1.2 * usual


def range_of(low: float, high: float) -> tuple[float, float]:
    """A y axis' ends: zero is on it where that costs at most half of the height; a constant gets room on both sides."""
    if low >= 0 and low <= high / 2:
        return 0.0, high * 1.05 if high > 0 else 1.0
    room = (high - low) * 0.08 or abs(high) * 0.1
    return low - room, high + room


def extremes(values: Values) -> Places:
    """The places that a curve's look hangs on: its ends, and the lowest, the highest and a gap in each of MOST_COLUMNS ranges."""
    if values.size <= 2 * MOST_COLUMNS:
        return np.arange(values.size)
    kept = {0, values.size - 1}
    for part in np.array_split(np.arange(values.size), MOST_COLUMNS):
        finite = part[np.isfinite(values[part])]
        if finite.size:
            kept |= {int(finite[values[finite].argmin()]), int(finite[values[finite].argmax()])}
        kept |= set(part[~np.isfinite(values[part])][:1].tolist())
    return np.array(sorted(kept), dtype=np.intp)


def path(x: Values, y: Values) -> str:
    """SVG path data through the finite points; a value that is not a number breaks the line, a lone point is a dot."""
    pieces: list[str] = []
    pen_down = False
    for index in range(x.size):
        if not math.isfinite(y[index]):
            pen_down = False
            continue
        alone = not pen_down and (index + 1 == x.size or not math.isfinite(y[index + 1]))
        pieces.append(f"{'L' if pen_down else 'M'}{x[index]:.1f} {y[index]:.1f}" + ("h0" if alone else ""))
        pen_down = True
    return "".join(pieces)
