"""Data facts of tests: a dataset with nothing to say of, and pictures with something."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from trainer.data_report.facts import DataFacts, PictureFacts, SubsetFacts
from trainer.data_report.words import caption_facts

COLOURS = ("red", "blue", "green", "white", "pink", "yellow", "purple", "orange", "black", "grey")


def picture(number: int, **change: Any) -> PictureFacts:
    """A good one, with a caption of its own."""
    good = PictureFacts(
        path=f"{number}.png",
        subset=0,
        caption=f"a {COLOURS[number % len(COLOURS)]} cat, number {number}",
        size=(512, 512),
        bucket=(512, 512),
        lost=0.0,
        enlarged=1.0,
        short_of_resolution=0.0,
        blur=0.25,
        laplacian_variance=900.0,
        contrast=0.9,
        bars=(0.0, 0.0, 0.0, 0.0),
        reconstruction_error=0.03,
        caption_gain=0.2,
    )
    return replace(good, **change)


def facts(*pictures: PictureFacts, tokens: list[int] | None = None, **change: Any) -> DataFacts:
    """Of these pictures; ten good ones where none are given."""
    shown = pictures or tuple(picture(number) for number in range(10))
    captions = [tuple(part.strip() for part in one.caption.split(",") if part.strip()) for one in shown]
    counted = dict(zip((one.caption for one in shown), tokens or [12] * len(shown), strict=True))
    whole = DataFacts(
        name="cats",
        resolution=512,
        pictures=shown,
        subsets=[SubsetFacts(name="", repeats=1, activation_tag="lumi")],
        captions=caption_facts(captions, [one.caption for one in shown], counted.__getitem__, 75),
        near_duplicates=(),
        marked=(),
    )
    return replace(whole, **change)


def with_one(**change: Any) -> DataFacts:
    """Nine good pictures and one that differs so, the last."""
    return facts(*(picture(number) for number in range(9)), picture(9, **change))
