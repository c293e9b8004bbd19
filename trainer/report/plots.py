"""The report's charts, as geometry that the template draws as SVG: what is plotted, how it is smoothed, what is said of it.

Hand-made rather than matplotlib's: colours follow the page's light or dark scheme, letters stay readable on a phone, the same
values give the same bytes, and the trainer does not import a plotting library for five curves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.report.axes import Axis, Places, Values, evenly, extremes, path, range_of, smoothed, top_of, window_for
from trainer.report.data import Metric
from trainer.report.text import count, figure

NARROW, WIDE = 400, 824
"""Widths of a drawing, in its own unit: one column of the page, or two with the gap between them."""
HEIGHT = 232
LEFT, RIGHT, TOP, BOTTOM = 48, 10, 10, 28
"""Room for labels around the plot."""

SMOOTHING_SHARE = 0.05
"""A smoothed curve is the mean over this share of all measurements."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve. `style` is the class that colours it; `raw` ones stand faintly behind the others."""

    style: str
    data: str
    raw: bool = False


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One size of a chart, in its own unit."""

    width: int
    height: int
    frame: tuple[float, float, float, float]
    """left, top, right, bottom of the plot."""
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    lines: Sequence[Line]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure: its title, the names of its curves, notes on what it does not show, and the drawing in one or two sizes."""

    key: str
    title: str
    summary: str
    """What the curves say, in words, for people who do not see them."""
    legend: Sequence[tuple[str, str]]
    """(style, name)."""
    notes: Sequence[str]
    narrow: Drawing
    wide: Drawing | None = None


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """Values over all steps, with how they are shown."""

    name: str
    style: str
    values: Values
    """Finite, or not a number where nothing finite was measured."""
    places: Places
    """Where `values` has the points of the line in front."""
    line: Values
    """The line in front, at `places`."""
    window: int = 0
    """How many values each point of the line is the mean of; 0 where the line is the values themselves."""
    show_raw: bool = False
    """The values stand faintly behind their mean."""
    robust: bool = False
    """Values above the axis stay out of the mean: one of them would hide all others."""
    spoilt: Sequence[int] = ()
    """Steps at which something was measured that is not a finite number."""

    @property
    def shown(self) -> Values:
        """All finite values that the axis should reach."""
        values = self.values if self.show_raw else self.line
        return values[np.isfinite(values)]


def by_step(metrics: Sequence[Metric]) -> list[Metric]:
    """The measurements in order of step; of two at one step the later in the sequence counts."""
    return [metric for _, metric in sorted({metric.step: metric for metric in metrics}.items())]


def final_loss(metrics: Sequence[Metric]) -> float | None:
    """The last value of the smoothed loss; not finite if the last measured loss was not; None without measurements."""
    values = np.array([metric.loss for metric in by_step(metrics)], dtype=np.float64)
    if not values.size:
        return None
    if not math.isfinite(values[-1]):
        return float(values[-1])
    return float(smoothed(values, window_for(values.size, SMOOTHING_SHARE), np.array([values.size - 1]))[0])


def charts(metrics: Sequence[Metric]) -> list[Chart]:
    """The charts for which there is at least one finite value."""
    ordered = by_step(metrics)
    if not ordered:
        return []
    steps = np.array([metric.step for metric in ordered], dtype=np.float64)
    window = window_for(steps.size, SMOOTHING_SHARE)

    loss = [_curve(ordered, "loss", "c1", lambda m: m.loss, window=window, show_raw=True)]
    prior = _curve(ordered, "prior preservation", "c5", lambda m: m.prior_loss, window=window)
    rate = _curve(ordered, "learning rate", "c1", lambda m: m.learning_rate)
    norm = _curve(ordered, "norm", "c1", lambda m: m.gradient_norm, window=window, show_raw=True, robust=True)
    speed = _curve(ordered, "images per second", "c1", lambda m: m.images_per_second, window=window, show_raw=True)
    memory = _curve(ordered, "memory", "c1", lambda m: None if m.memory_bytes is None else m.memory_bytes / 2**30)
    wanted = [
        _chart("loss", "Loss", steps, [*loss, prior] if prior.shown.size else loss, wide=True),
        _validation(ordered),
        _chart("loss-by-band", "Loss by timestep band", steps, _bands(ordered)),
        _chart("learning-rate", "Learning rate", steps, [rate]),
        _chart("gradient-norm", "Gradient norm before clipping", steps, [norm]),
        # From zero, so that a jitter looks like one.
        _chart("images-per-second", "Images per second", steps, [speed], from_zero=True),
        _chart("memory", "Memory in use, GiB", steps, [memory], from_zero=True),
    ]
    return [chart for chart in wanted if chart]


def _validation(ordered: Sequence[Metric]) -> Chart | None:
    """Over the steps at which it was measured."""
    measured = [metric for metric in ordered if metric.validation_loss is not None]
    if not measured:
        return None
    steps = np.array([metric.step for metric in measured], dtype=np.float64)
    curve = _curve(measured, "validation loss", "c1", lambda m: m.validation_loss)
    return _chart("validation-loss", "Validation loss, at fixed noise and timesteps", steps, [curve])


def _curve(
    ordered: Sequence[Metric],
    name: str,
    style: str,
    of: Callable[[Metric], float | None],
    *,
    window: int = 0,
    show_raw: bool = False,
    robust: bool = False,
) -> _Curve:
    measured = [(metric.step, of(metric)) for metric in ordered]
    values = np.array([math.nan if value is None else value for _, value in measured], dtype=np.float64)
    values[~np.isfinite(values)] = math.nan
    averaged = np.where(values > top_of(values), math.nan, values) if robust else values
    places = evenly(values.size) if window else extremes(values)
    return _Curve(
        name=name,
        style=style,
        values=values,
        places=places,
        line=smoothed(averaged, window, places) if window else values[places],
        window=window,
        show_raw=show_raw,
        robust=robust,
        spoilt=[step for step, value in measured if value is not None and not math.isfinite(value)],
    )


def _bands(ordered: Sequence[Metric]) -> list[_Curve]:
    """One smoothed curve per band of the timesteps; a band is met by few examples, so its window is twice as long."""
    number = max(len(metric.loss_by_band) for metric in ordered)
    window = window_for(len(ordered), 2 * SMOOTHING_SHARE)

    def loss_in(band: int) -> Callable[[Metric], float | None]:
        return lambda metric: metric.loss_by_band[band] if band < len(metric.loss_by_band) else None

    curves = []
    for band in range(number):
        name = f"{100 * band // number}–{100 * (band + 1) // number} %"
        curves.append(_curve(ordered, name, f"b{min(band + 1, 4)}", loss_in(band), window=window))
    return [curve for curve in curves if curve.shown.size]


def _chart(
    key: str, title: str, steps: Values, curves: Sequence[_Curve], *, wide: bool = False, from_zero: bool = False
) -> Chart | None:
    """None where nothing was measured. Where nothing finite was, the chart is empty and its note says so."""
    if not any(curve.shown.size or (curve.show_raw and curve.spoilt) for curve in curves):
        return None
    lowest = min((float(curve.shown.min()) for curve in curves if curve.shown.size), default=0.0)
    highest = max((top_of(curve.shown) for curve in curves if curve.shown.size), default=1.0)
    ends = range_of(min(0.0, lowest) if from_zero else lowest, highest)
    return Chart(
        key=key,
        title=title,
        summary=_summary(title, steps, curves),
        legend=[(curve.style, curve.name) for curve in curves] if len(curves) > 1 else [],
        notes=_notes(key, curves, ends[1]),
        narrow=_drawing(NARROW, steps, curves, ends),
        wide=_drawing(WIDE, steps, curves, ends) if wide else None,
    )


def _drawing(width: int, steps: Values, curves: Sequence[_Curve], ends: tuple[float, float]) -> Drawing:
    first, last = float(steps[0]), float(steps[-1])
    x = Axis(low=first, high=last if last > first else first + 1, start=LEFT, end=width - RIGHT)
    y = Axis(low=ends[0], high=ends[1], start=HEIGHT - BOTTOM, end=TOP)
    lines = []
    for curve in curves:
        if curve.show_raw:
            raw = extremes(curve.values)
            lines.append(Line(style=curve.style, data=path(x.place(steps[raw]), y.place(curve.values[raw])), raw=True))
        lines.append(Line(style=curve.style, data=path(x.place(steps[curve.places]), y.place(curve.line))))
    return Drawing(
        width=width,
        height=HEIGHT,
        frame=(LEFT, TOP, width - RIGHT, HEIGHT - BOTTOM),
        x_ticks=x.ticks(width // 80, whole=True),
        y_ticks=y.ticks(5),
        lines=lines,
    )


def _notes(key: str, curves: Sequence[_Curve], top: float) -> list[str]:
    """What the drawing hides: smoothing, outliers cut off, values that are not numbers."""
    notes = []
    windows = sorted({curve.window for curve in curves if curve.window})
    if windows:
        faint = "; the faint line is each of them" if curves[0].show_raw else ""
        notes.append(f"Mean over {windows[0]} measurements{faint}.")
    if key == "loss-by-band":
        notes.append("0 % is the least noise.")
    for curve in curves:
        if curve.show_raw:
            above = curve.shown[curve.shown > top]
            if above.size:
                out = ", left out of the mean" if curve.robust else ""
                notes.append(f"{count(above.size)} above the axis{out}, the highest {figure(float(above.max()))}.")
            if curve.spoilt:
                first = count(curve.spoilt[0])
                notes.append(f"{count(len(curve.spoilt))} not a finite number, the first at step {first}.")
    return notes


def _summary(title: str, steps: Values, curves: Sequence[_Curve]) -> str:
    words = []
    for curve in curves:
        line = curve.line[np.isfinite(curve.line)]
        if line.size:
            words.append(f"{curve.name} from {figure(float(line[0]))} to {figure(float(line[-1]))}")
        else:
            words.append(f"{curve.name} without a finite value")
    return f"{title}, steps {count(int(steps[0]))} to {count(int(steps[-1]))}: {'; '.join(words)}."
