"""The report: one HTML file that needs no other and no network (`page`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from trainer.report.data import DataSuggestion, Notice, PreviewSeries, ReportData, RunFacts, StrengthSheet
from trainer.report.page import HERE, digest, environment, source
from trainer.report.pictures import data_uri, is_small, reduced
from trainer.report.plots import charts, final_loss
from trainer.report.text import count, duration, figure
from trainer.report.usage import snippets

LARGEST_OF_SWEEP = 384
"""Pixels: many pictures stand beside each other there."""


@dataclass(frozen=True, kw_only=True)
class _Picture:
    uri: str
    width: int
    """Pixels."""
    height: int
    small: bool
    """Shown enlarged with its pixels as they are."""


@dataclass(frozen=True, kw_only=True)
class _Frame:
    step: int
    picture: _Picture


@dataclass(frozen=True, kw_only=True)
class _Series:
    prompt: str
    negative_prompt: str
    seed: int | None
    without: _Picture | None
    frames: Sequence[_Frame]


@dataclass(frozen=True, kw_only=True)
class _Row:
    """What one adapter draws of a prompt, by strength."""

    name: str
    promotion: str
    cells: Sequence[tuple[str, _Picture]]
    """(strength, picture)."""


@dataclass(frozen=True, kw_only=True)
class _Sweep:
    """One prompt at every strength, by every adapter that was drawn."""

    prompt: str
    seed: int | None
    rows: Sequence[_Row]


@dataclass(frozen=True, kw_only=True)
class _Tile:
    """One key number."""

    name: str
    value: str
    note: str = ""


def render(data: ReportData) -> str:
    """The whole page. The same data gives the same text."""
    style, script = source(HERE / "report.css"), source(HERE / "report.js")
    series = [_series(each) for each in data.previews]
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            style=style,
            style_digest=digest(style),
            script=script,
            script_digest=digest(script),
            tiles=_tiles(data),
            charts=charts(data.metrics),
            series=series,
            large_previews=any(not is_small(picture) for picture in _pictures(data.previews)),
            sweeps=_sweeps(data),
            preview_steps=sorted({frame.step for each in series for frame in each.frames}),
            examples=_examples(data),
            suggestions=_suggestions(data),
            notices=_notices(data),
            snippets=snippets(data.usage) if data.usage else [],
        )
    )


def _tiles(data: ReportData) -> list[_Tile]:
    facts = data.facts
    tiles = [_steps_tile(facts)]
    if facts.trained_seconds is not None:
        tiles.append(_Tile(name="training time", value=duration(facts.trained_seconds), note=_speed(facts)))
    if facts.pictures is not None:
        tiles.append(_Tile(name="pictures", value=count(facts.pictures)))
    if data.trained:
        ranks = " / ".join(
            str(rank) for rank in sorted({group.rank for group in data.trained if group.rank is not None})
        )
        alphas = " / ".join(
            f"{alpha:g}" for alpha in sorted({group.alpha for group in data.trained if group.alpha is not None})
        )
        tiles.append(_Tile(name="rank", value=ranks, note=f"alpha {alphas}"))
    if facts.parameters is not None:
        note = "" if facts.modules is None else f"in {count(facts.modules)} modules"
        tiles.append(_Tile(name="trained parameters", value=_short(facts.parameters), note=note))
    loss = final_loss(data.metrics) if facts.final_loss is None else facts.final_loss
    if loss is not None:
        tiles.append(_Tile(name="final loss", value=figure(loss), note="smoothed"))
    return [tile for tile in tiles if tile]


def _steps_tile(facts: RunFacts) -> _Tile | None:
    if facts.steps is None:
        return None
    short = facts.planned_steps is not None and facts.planned_steps != facts.steps
    note = f"of {count(facts.planned_steps or 0)} planned" if short else ""
    return _Tile(name="steps", value=count(facts.steps), note=note)


def _speed(facts: RunFacts) -> str:
    if not facts.steps or not facts.trained_seconds:
        return ""
    return f"{figure(1000 * facts.trained_seconds / facts.steps)} ms a step"


def _short(number: int) -> str:
    """A large number by its first three digits: "797k", "3.19M"."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= 0.9995 * size:
            return f"{number / size:.3g}{unit}"
    return str(number)


def _series(series: PreviewSeries) -> _Series:
    latest = {preview.step: preview.picture for preview in series.previews}
    return _Series(
        prompt=series.prompt,
        negative_prompt=series.negative_prompt,
        seed=series.seed,
        without=_picture(series.without) if series.without else None,
        frames=[_Frame(step=step, picture=_picture(latest[step])) for step in sorted(latest)],
    )


def _sweeps(data: ReportData) -> list[_Sweep]:
    """By prompt. Without the adapter all rows would show the same: that has a row of its own."""
    if not data.sheets:
        return []
    prompts = len(data.sheets[0].pictures[0])
    return [
        _Sweep(prompt=series.prompt, seed=series.seed, rows=_rows(data, place))
        for place, series in enumerate(data.previews[:prompts])
    ]


def _rows(data: ReportData, prompt: int) -> list[_Row]:
    def cells(sheet: StrengthSheet, *, without: bool) -> list[tuple[str, _Picture]]:
        return [
            (f"{strength:g}", _picture(reduced(pictures[prompt], LARGEST_OF_SWEEP)))
            for strength, pictures in zip(data.strengths, sheet.pictures, strict=True)
            if (strength == 0) is without
        ]

    base = cells(data.sheets[-1], without=True)
    rows = [_Row(name="without the adapter", promotion="", cells=base)] if base else []
    for sheet in data.sheets:
        name = f"final adapter, after step {count(sheet.step)}" if sheet.is_final else f"after step {count(sheet.step)}"
        rows.append(_Row(name=name, promotion=sheet.promotion, cells=cells(sheet, without=False)))
    return rows


def _pictures(previews: Sequence[PreviewSeries]) -> Iterator[Image.Image]:
    for series in previews:
        yield from (preview.picture for preview in series.previews)
        if series.without:
            yield series.without


def _picture(picture: Image.Image) -> _Picture:
    return _Picture(uri=data_uri(picture), width=picture.width, height=picture.height, small=is_small(picture))


def _examples(data: ReportData) -> list[tuple[str, str, _Picture | None]]:
    if data.dataset is None:
        return []
    return [
        (example.path, example.caption, _picture(example.picture) if example.picture else None)
        for example in data.dataset.examples
    ]


def _suggestions(data: ReportData) -> list[tuple[DataSuggestion, list[_Picture]]]:
    found = data.dataset.suggestions if data.dataset else ()
    return [(one, [_picture(picture) for picture in one.pictures]) for one in found]


def _notices(data: ReportData) -> list[Notice]:
    """All warnings in one list, the run's before the dataset's."""
    return [*data.warnings, *(data.dataset.warnings if data.dataset else ())]
