"""Captions beside their pictures, for people to look through: one HTML file that needs no other (`trainer.report.page`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from trainer.report.page import HERE as STYLES
from trainer.report.page import digest, environment, source
from trainer.report.pictures import data_uri, reduced

HERE = Path(__file__).parent
SIDE = 192
"""Pixels of the longer side of a picture in the page."""
MOST_SHOWN = 1000
"""Pictures in the page, which has some kilobytes of each; the captions of all stand in the file beside it."""


@dataclass(frozen=True)
class Captioned:
    """A picture and what was written of it."""

    path: str
    caption: str
    """Empty where a tagger was sure of nothing."""
    picture: Image.Image

    def __post_init__(self) -> None:
        object.__setattr__(self, "picture", reduced(self.picture, SIDE))


def render(captioned: Sequence[Captioned], problems: Sequence[str], *, dataset: str, captioner: str, job: str) -> str:
    """The whole page. The same captions give the same text."""
    style = Markup(f"{source(STYLES / 'report.css')}\n{source(HERE / 'captions.css')}")
    return (
        environment(HERE)
        .get_template("captions.html.j2")
        .render(
            style=style,
            style_digest=digest(style),
            rows=[(data_uri(one.picture), one.picture.size, one.path, one.caption) for one in captioned[:MOST_SHOWN]],
            hidden=max(0, len(captioned) - MOST_SHOWN),
            total=len(captioned),
            empty=sum(not one.caption for one in captioned),
            problems=problems,
            dataset=dataset,
            captioner=captioner,
            job=job,
        )
    )
