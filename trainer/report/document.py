"""The report: one HTML file that needs no other and no network (`page`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from trainer.report.data import DataSuggestion, Notice, PreviewSeries, ReportData, RunFacts
from trainer.report.page import HERE, digest, environment, source
from trainer.report.pictures import data_uri, is_small
from trainer.report.plots import charts, final_loss
from trainer.report.text import count, duration, figure
from trainer.report.usage import snippets


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
