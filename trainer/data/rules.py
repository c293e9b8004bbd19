"""What was asked of a dataset: which pictures, how they are sized, and how their captions are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

CaptionSource = Literal["file", "fixed", "file_or_fixed"]


@dataclass(frozen=True, kw_only=True)
class CaptionRules:
    """Captions of a subset. The activation tag is always first and is never shuffled or dropped."""

    source: CaptionSource = "file"
    """A file beside the picture, `text`, or a file where there is one and else `text`."""
    text: str = ""
    """The caption of pictures that have none of their own."""
    prefix: str = ""
    """Put before each caption, with ", " between; neither shuffled nor dropped."""
    suffix: str = ""
    """Put after each caption, with ", " between; neither shuffled nor dropped."""
    shuffle_tags: bool = False
    """Whether the caption's comma-separated tags are in another order on each visit."""
    keep_tags: int = 0
    """Tags at the caption's front that are neither shuffled nor dropped; activation tag and prefix are not counted."""
    tag_dropout: float = 0.0
    """Probability that a tag is left out of a visit."""
    caption_dropout: float = 0.0
    """Probability that a visit has an empty caption, without activation tag: an unconditional example."""

    @property
    def varies(self) -> bool:
        """Whether a picture's caption can differ between visits, apart from being empty."""
        return self.shuffle_tags or self.tag_dropout > 0


@dataclass(frozen=True, kw_only=True)
class SubsetRules:
    """A part of a dataset. A picture belongs to the subset with the longest prefix that its path starts with."""

    path_prefix: str = ""
    """Start of the path, such as `10_cat/`; empty for every file."""
    repeats: int = 1
    """Visits of each picture in an epoch."""
    captions: CaptionRules = field(default_factory=CaptionRules)


@dataclass(frozen=True, kw_only=True)
class PictureRules:
    """Sizes of training pictures, in pixels."""

    resolution: int
    """Area of a training picture, as the side of a square."""
    bucket_step: int
    """Sides of buckets are multiples of this."""
    buckets: bool = True
    """Whether pictures keep their aspect ratio roughly, instead of all being cropped to squares."""
    upscale: bool = False
    """Whether small pictures are enlarged; otherwise their bucket shrinks to them."""
    flip_probability: float = 0.0
    """Probability that a visit mirrors the picture left to right."""
