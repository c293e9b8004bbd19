"""The data report as one HTML file that needs no other and no network (`trainer.report.page`)."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from trainer.data_report.facts import DataFacts, PictureFacts
from trainer.data_report.report import DataReport, thumbnail
from trainer.report.page import HERE as STYLES
from trainer.report.page import digest, environment, source
from trainer.report.text import count, figure

HERE = Path(__file__).parent
MOST_SHOWN = 24
"""Pictures of a suggestion that are shown; their names beyond it stand in the JSON."""
WORST = 12
"""Pictures that are shown as the worst of a measure."""


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """A picture with what is said of it."""

    uri: str
    width: int
    height: int
    path: str
    note: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class _Bar:
    """A row of a table of frequencies; `share` of the longest, 0 to 1."""

    name: str
    number: int
    share: float


def render(report: DataReport) -> str:
    """The whole page. The same report gives the same text."""
    style = Markup(f"{source(STYLES / 'report.css')}\n{source(HERE / 'data_report.css')}")
    facts = report.facts
    return (
        environment(HERE)
        .get_template("data_report.html.j2")
        .render(
            facts=facts,
            style=style,
            style_digest=digest(style),
            verdict=verdict(report),
            tiles=tiles(facts),
            suggestions=[(one, _pictures(report, one.pictures, _NOTES.get(one.code))) for one in report.suggestions],
            hidden=[max(0, len(one.pictures) - MOST_SHOWN) for one in report.suggestions],
            subsets=subsets(facts),
            groups=[_pictures(report, group, None) for group in facts.near_duplicates[:MOST_SHOWN]],
            tags=_bars(facts.captions.tags or facts.captions.words),
            identical=[(text, len(places)) for text, places in facts.captions.identical[:WORST]],
            tokens=_tokens(facts),
            worst_kept=_pictures(report, worst(facts, lambda one: one.reconstruction_error), _kept),
            worst_captions=_pictures(report, worst(facts, lambda one: _negated(one.caption_gain)), _gained),
        )
    )


def verdict(report: DataReport) -> str:
    """One sentence."""
    pictures = len(report.facts.pictures)
    said = f"{count(pictures)} {'picture' if pictures == 1 else 'pictures'}"
    if not report.suggestions:
        return f"{said}, and nothing to suggest."
    return f"{said}, {len(report.suggestions)} {'suggestion' if len(report.suggestions) == 1 else 'suggestions'}."


def tiles(facts: DataFacts) -> list[tuple[str, str, str]]:
    """(name, value, note) of the key numbers."""
    pictures = facts.pictures
    found = [
        ("pictures", count(len(pictures)), ""),
        ("buckets", count(len({one.bucket for one in pictures})), f"at resolution {facts.resolution}"),
        ("cut off", f"{sum(one.lost for one in pictures) / max(1, len(pictures)):.0%}", "of the area, on average"),
        ("enlarged", count(sum(one.enlarged > 1 for one in pictures)), "pictures"),
        ("near duplicates", count(sum(map(len, facts.near_duplicates))), f"in {len(facts.near_duplicates)} groups"),
        ("captions", count(facts.captions.distinct), "different ones"),
    ]
    if facts.captions.tokens:
        limit = facts.captions.token_limit
        found.append(
            ("longest caption", count(max(facts.captions.tokens)), f"tokens of {limit}" if limit else "tokens")
        )
    judged = [one.reconstruction_error for one in pictures if one.reconstruction_error is not None]
    if judged:
        found.append(("lost by the VAE", f"{sum(judged) / len(judged):.1%}", "root mean square, on average"))
    return found


def subsets(facts: DataFacts) -> list[tuple[str, int, int, list[tuple[int, int, int]]]]:
    """(name, repeats, pictures, (width, height, pictures) of each bucket) of each subset that has pictures."""
    found = []
    for index, subset in enumerate(facts.subsets):
        buckets = Counter(one.bucket for one in facts.pictures if one.subset == index)
        if buckets:
            sizes = [(*bucket, number) for bucket, number in sorted(buckets.items())]
            found.append((subset.name or "(all files)", subset.repeats, buckets.total(), sizes))
    return found


def worst(facts: DataFacts, badness: Callable[[PictureFacts], float | None]) -> list[int]:
    """Places of the WORST pictures of those that were measured."""
    measured = [(value, place) for place, one in enumerate(facts.pictures) if (value := badness(one)) is not None]
    return [place for _, place in sorted(measured, key=lambda one: (-one[0], one[1]))[:WORST]]


def _negated(value: float | None) -> float | None:
    return None if value is None else -value


def _gained(picture: PictureFacts) -> str:
    gain = picture.caption_gain or 0.0
    return f"{abs(gain):.0%} {'less' if gain >= 0 else 'more'} error with its caption"


def _kept(picture: PictureFacts) -> str:
    return f"error {picture.reconstruction_error or 0.0:.1%}"


def _worded(picture: PictureFacts) -> str:
    if picture.instead:
        return f"“{picture.worst_words}”: “{picture.instead}” has {picture.instead_gain or 0.0:.0%} less error"
    return f"“{picture.worst_words}”: {-(picture.words_gain or 0.0):.0%} more error"


_NOTES: dict[str, Callable[[PictureFacts], str]] = {
    "CAPTION_PROBABLY_WRONG": _worded,
    "LOST_BY_VAE": _kept,
    "BLURRED": lambda one: f"blur {figure(one.blur, 2)}",
    "LOW_CONTRAST": lambda one: f"contrast {figure(one.contrast, 2)}",
    "MUCH_CUT_OFF": lambda one: f"{one.lost:.0%} cut off",
    "BARS": lambda one: f"{max(one.bars):.0%} of a side",
    "TOO_SMALL": lambda one: (
        f"{one.size[0]}×{one.size[1]}" + (f", enlarged {one.enlarged:.1f}×" if one.enlarged > 1 else "")
    ),
}
"""What is said of each picture of a suggestion."""


def _pictures(report: DataReport, places: Sequence[int], note: Callable[[PictureFacts], str] | None) -> list[_Shown]:
    return [_shown(report, place, note) for place in places[:MOST_SHOWN]]


def _shown(report: DataReport, place: int, note: Callable[[PictureFacts], str] | None) -> _Shown:
    facts, content = report.facts.pictures[place], report.thumbnails[place]
    width, height = thumbnail(report, place).size
    return _Shown(
        uri=f"data:image/webp;base64,{base64.b64encode(content).decode('ascii')}",
        width=width,
        height=height,
        path=facts.path,
        note=note(facts) if note else "",
        caption=facts.caption,
    )


def _bars(counts: Sequence[tuple[str, int]]) -> list[_Bar]:
    most = counts[0][1] if counts else 1
    return [_Bar(name=name, number=number, share=number / most) for name, number in counts]


def _tokens(facts: DataFacts) -> list[_Bar]:
    """How many captions have so many tokens, in ranges of equal width."""
    tokens = facts.captions.tokens
    if not tokens:
        return []
    width = max(1, -(-(max(tokens) + 1) // 8))
    ranges = Counter(number // width for number in tokens)
    most = max(ranges.values())
    rows = []
    for part in range(max(ranges) + 1):
        name = f"{part * width}" if width == 1 else f"{part * width} to {part * width + width - 1}"
        rows.append(_Bar(name=name, number=ranges[part], share=ranges[part] / most))
    return rows
