"""The data report: every measure put together, and what follows from it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from trainer.data.buckets import Bucket
from trainer.data.captions import parse_tags
from trainer.data.dataset import Example
from trainer.data.rules import PictureRules, SubsetRules
from trainer.data_report.facts import DataFacts, Judged, PictureFacts, SubsetFacts
from trainer.data_report.likeness import near_duplicates
from trainer.data_report.looking import Looks
from trainer.data_report.marks import carriers
from trainer.data_report.suggestions import Suggestion, suggestions
from trainer.data_report.words import caption_facts


@dataclass(frozen=True)
class DataReport:
    """What is shown."""

    facts: DataFacts
    suggestions: Sequence[Suggestion]
    thumbnails: Sequence[bytes]
    """WebP, of each picture."""


@dataclass(frozen=True, kw_only=True)
class Captions:
    """How captions are read; without an encoder tokens are not counted."""

    texts: Sequence[str]
    """What the text encoder reads of each picture."""
    counted: Callable[[str], int] | None = None
    """Tokens of a text, without start and end."""
    token_limit: int | None = None


def data_report(
    name: str,
    examples: Sequence[Example],
    looks: Sequence[Looks],
    subsets: Sequence[SubsetRules],
    rules: PictureRules,
    captions: Captions,
) -> DataReport:
    """Of what can be said without a base model."""
    groups = near_duplicates([look.sketch for look in looks])
    facts = DataFacts(
        name=name,
        resolution=rules.resolution,
        pictures=[_picture(example, look, rules) for example, look in zip(examples, looks, strict=True)],
        subsets=[
            SubsetFacts(name=one.path_prefix, repeats=one.repeats, activation_tag=one.activation_tag) for one in subsets
        ],
        captions=caption_facts(
            [parse_tags(one.caption, subsets[one.subset].captions.separator) for one in examples],
            captions.texts,
            captions.counted,
            captions.token_limit,
        ),
        near_duplicates=groups,
        marked=carriers([look.edges for look in looks], {place for group in groups for place in group[1:]}),
    )
    return DataReport(facts, suggestions(facts), [look.thumbnail for look in looks])


def with_judgements(report: DataReport, judged: Mapping[int, Judged], base: str, not_judged: str) -> DataReport:
    """The report with what a base model said of pictures, by their place."""
    pictures = list(report.facts.pictures)
    for place, one in judged.items():
        pictures[place] = replace(
            pictures[place],
            reconstruction_error=one.reconstruction_error,
            caption_gain=one.caption_gain,
            worst_words=one.worst_words,
            words_gain=one.words_gain,
            instead=one.instead,
            instead_gain=one.instead_gain,
        )
    facts = replace(report.facts, pictures=pictures, base=base, not_judged=not_judged)
    return replace(report, facts=facts, suggestions=suggestions(facts))


def thumbnail(report: DataReport, place: int) -> Image.Image:
    """A small picture of the dataset's, from what this process or one like it wrote after the child had decoded the original."""
    with Image.open(io.BytesIO(report.thumbnails[place]), formats=["WEBP"]) as picture:
        return picture.convert("RGB")


def _picture(example: Example, looks: Looks, rules: PictureRules) -> PictureFacts:
    bucket, resize = example.bucket, example.resize
    return PictureFacts(
        path=example.path,
        subset=example.subset,
        caption=example.caption,
        size=(example.width, example.height),
        bucket=(bucket.width, bucket.height),
        lost=1 - shown(example.crops, resize),
        enlarged=max(resize[0] / example.width, resize[1] / example.height),
        short_of_resolution=_short(bucket, rules),
        blur=looks.blur,
        laplacian_variance=looks.laplacian_variance,
        contrast=looks.contrast,
        bars=looks.bars,
    )


def _short(bucket: Bucket, rules: PictureRules) -> float:
    """Share of the resolution's area that a bucket lacks."""
    return max(0.0, 1 - bucket.width * bucket.height / rules.resolution**2)


def shown(crops: Sequence[tuple[int, int, int, int]], resize: tuple[int, int]) -> float:
    """Share of the resized picture that some crop shows, 0 to 1."""
    if len(crops) == 1:
        left, top, right, bottom = crops[0]
        return (right - left) * (bottom - top) / (resize[0] * resize[1])
    seen = np.zeros((resize[1], resize[0]), bool)
    for left, top, right, bottom in crops:
        seen[top:bottom, left:right] = True
    return float(seen.mean())
