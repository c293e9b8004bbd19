"""The analysis' curves over the timesteps, as geometry that the page draws as SVG (`trainer.report.plots`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.concepts.evidence import Evidence
from trainer.report.axes import Axis, Values, path, range_of
from trainer.report.plots import BOTTOM, HEIGHT, LEFT, NARROW, RIGHT, TOP, Chart, Drawing, Line
from trainer.report.text import figure

Curve = tuple[str, str, Values]
"""Style, name, and a value for each timestep."""


def charts(evidence: Evidence) -> list[Chart]:
    """Errors under each text, and what the name and the caption gain, for the dataset and for the base's own pictures."""
    data, own = evidence.dataset, evidence.own
    errors = [
        ("c1", "dataset, with its captions", data.named.mean(axis=0)),
        ("b1", "dataset, empty text", data.nothing.mean(axis=0)),
        ("c5", "the base's own, with the same captions", own.named.mean(axis=0)),
    ]
    what = "name" if evidence.naming.name else "caption"
    gains = [
        ("c1", "dataset", (data.unnamed - data.named).mean(axis=0)),
        ("c5", "the base's own", (own.unnamed - own.named).mean(axis=0)),
    ]
    if evidence.naming.name:
        errors.insert(1, ("b2", "dataset, captions without the name", data.unnamed.mean(axis=0)))
    return [
        _chart("errors", "Denoising error by timestep", evidence.timesteps, errors),
        _chart("gains", f"What the {what} takes off the error", evidence.timesteps, gains),
    ]


def _chart(key: str, title: str, timesteps: Sequence[int], curves: Sequence[Curve]) -> Chart:
    summary = "; ".join(
        f"{name} from {figure(float(values[0]))} to {figure(float(values[-1]))}" for _, name, values in curves
    )
    return Chart(
        key=key,
        title=title,
        summary=f"{title}, timesteps {timesteps[0]} to {timesteps[-1]}: {summary}.",
        legend=[(style, name) for style, name, _ in curves],
        notes=["Low timesteps hold the least noise: texture and style show there, composition at high ones."],
        narrow=_drawing(np.asarray(timesteps, dtype=np.float64), curves),
    )


def _drawing(timesteps: Values, curves: Sequence[Curve]) -> Drawing:
    low = min(0.0, *(float(values.min()) for _, _, values in curves))
    high = max(float(values.max()) for _, _, values in curves)
    ends = range_of(low, high)
    x = Axis(low=float(timesteps[0]), high=float(timesteps[-1]), start=LEFT, end=NARROW - RIGHT)
    y = Axis(low=ends[0], high=ends[1], start=HEIGHT - BOTTOM, end=TOP)
    return Drawing(
        width=NARROW,
        height=HEIGHT,
        frame=(LEFT, TOP, NARROW - RIGHT, HEIGHT - BOTTOM),
        x_ticks=x.ticks(NARROW // 80, whole=True),
        y_ticks=y.ticks(5),
        lines=[Line(style=style, data=path(x.place(timesteps), y.place(values))) for style, _, values in curves],
    )
