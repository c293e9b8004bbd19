"""What a data report is made of: plain values. Everything of a picture but its name and sizes may be missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.data_report.words import CaptionFacts

SCHEMA_VERSION = 1
"""Of the report's JSON."""


@dataclass(frozen=True, kw_only=True)
class PictureFacts:
    """What was measured of one picture of the dataset. Sizes in pixels, (width, height)."""

    path: str
    subset: int
    caption: str
    """As written."""
    size: tuple[int, int]
    bucket: tuple[int, int]
    lost: float
    """Share of its area that no crop shows, 0 to 1."""
    enlarged: float
    """Factor by which its sides are enlarged to fill the bucket; 1 or below where they are not."""
    short_of_resolution: float
    """Share of the resolution's area that its bucket lacks because the picture is small, 0 to 1."""
    blur: float
    """0 to 1, `sharpness.blur`, at the size that it is trained at."""
    laplacian_variance: float
    """`sharpness.laplacian_variance` at that size."""
    contrast: float
    """0 to 1, `lightness.contrast`."""
    bars: tuple[float, float, float, float]
    """Shares of the sides, `frames.bars`."""
    reconstruction_error: float | None = None
    """Root mean square error after the VAE's encoder and decoder, of a range of 0 to 1; None where it was not measured."""
    caption_gain: float | None = None
    """How much smaller the base model's error is with the caption than without, relative to that without: above 0 the caption
    helps, below it harms. None where it was not measured."""
    worst_words: str = ""
    """The part of the caption that helps the base model least; empty where nothing was asked about parts."""
    words_gain: float | None = None
    """As `caption_gain`, of that part: against the caption without it."""
    instead: str = ""
    """What other captions say in place of that part, and fits this picture better; empty where nothing does."""
    instead_gain: float | None = None
    """How much smaller the error is with that, relative to that with the caption as it is."""


@dataclass(frozen=True)
class Judged:
    """What the base says of one picture; None where nothing was asked."""

    reconstruction_error: float
    caption_gain: float | None = None
    """How much smaller the error is with the caption than without, relative to that without."""
    worst_words: str = ""
    """The part of the caption that helps least."""
    words_gain: float | None = None
    """The same as `caption_gain`, of that part: against the caption without it."""
    instead: str = ""
    """What other captions say in place of that part, and fits better; empty where nothing does."""
    instead_gain: float | None = None
    """How much smaller the error is with that, relative to that with the caption as it is."""


@dataclass(frozen=True, kw_only=True)
class SubsetFacts:
    """A part of the dataset."""

    name: str
    """Its path prefix; empty for all files."""
    repeats: int
    activation_tag: str


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """All that was measured of a dataset."""

    name: str
    """Of the dataset, for people."""
    resolution: int
    """Area of training pictures, as the side of a square in pixels."""
    pictures: Sequence[PictureFacts]
    subsets: Sequence[SubsetFacts]
    captions: CaptionFacts
    near_duplicates: Sequence[Sequence[int]]
    """Groups of pictures that are nearly the same, by their places in `pictures`."""
    marked: Sequence[int]
    """Places of the pictures that carry a common mark near their border."""
    base: str = ""
    """Name of the base model that judged; empty where none did."""
    not_judged: str = ""
    """Why the base model judged nothing, or not all; empty if it judged every picture."""
