"""An analysis as one HTML file that needs no other and no network (`trainer.report.page`)."""

from __future__ import annotations

from pathlib import Path

import yaml
from markupsafe import Markup
from PIL import Image

from trainer.concepts.analysis import Analysis, ConceptAnalysis, Drawn
from trainer.concepts.evidence import Estimate
from trainer.concepts.plot import charts
from trainer.concepts.verdict import Verdict
from trainer.report.page import HERE as STYLES
from trainer.report.page import digest, environment, source
from trainer.report.pictures import data_uri

HERE = Path(__file__).parent
_TITLES = {
    Verdict.NEW: "new to the base",
    Verdict.MODIFIED: "known, rendered otherwise",
    Verdict.KNOWN: "known already: you need no adapter",
}


def as_html(analysis: Analysis) -> str:
    """The whole page. The same analysis gives the same text."""
    style = Markup(f"{source(STYLES / 'report.css')}\n{source(HERE / 'concept_analysis.css')}")
    return (
        environment(HERE)
        .get_template("concept_analysis.html.j2")
        .render(
            analysis=analysis,
            style=style,
            style_digest=digest(style),
            parts=[
                {
                    "one": one,
                    "title": _TITLES[one.verdict],
                    "tiles": _tiles(one),
                    "charts": charts(one.evidence),
                    "bands": _bands(one),
                    "settings": yaml.safe_dump(one.settings.as_job_file(), sort_keys=False, allow_unicode=True),
                    "pictures": [
                        (_uri(shown.picture), _uri(shown.drawn), shown.drawn.shape[0] < _ENLARGED, shown)
                        for shown in one.shown
                    ],
                }
                for one in analysis.concepts
            ],
        )
    )


_ENLARGED = 256
"""Pixels of a side below which pictures are shown enlarged, with their pixels as they are."""


def _tiles(one: ConceptAnalysis) -> list[tuple[str, str, str]]:
    """(name, value, note) of the key numbers."""
    found, name = one.figures, one.evidence.naming.name
    called = f"“{name}”" if name else "the captions"
    return [
        (
            "distance",
            *_told(found.distance, "error on these pictures over that on its own, in the band where they differ most"),
        ),
        (
            f"what {called} means to it",
            *_told(found.own_gain, "share of the error on its own pictures that it takes off"),
        ),
        (f"what {called} tells", *_told(found.name_gain, "of these pictures, over that of its own")),
        ("what captions tell", *_told(found.caption_gain, "the same of whole captions")),
        ("without any text", *_told(found.empty_distance, "error over that on its own")),
    ]


def _told(estimate: Estimate, note: str) -> tuple[str, str]:
    return f"{estimate.value:.2f}", f"{estimate.low:.2f} to {estimate.high:.2f}; {note}"


def _bands(one: ConceptAnalysis) -> list[tuple[str, str]]:
    bands = one.figures.distance_by_band
    return [
        (f"{100 * band // len(bands)}–{100 * (band + 1) // len(bands)} %", f"{value:.2f}")
        for band, value in enumerate(bands)
    ]


def _uri(picture: Drawn) -> str:
    return data_uri(Image.fromarray(picture))
