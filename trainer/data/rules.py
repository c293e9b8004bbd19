"""What was asked of a dataset: which pictures, how they are sized, and how their captions are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

CaptionSource = Literal["file", "fixed", "file_or_fixed"]
CropName = Literal["center", "random", "smart"]
MaskSource = Literal["none", "alpha", "file"]


@dataclass(frozen=True, kw_only=True)
class CaptionRules:
    """Captions of a subset. The activation tag is always first and is never shuffled or dropped."""

    source: CaptionSource = "file"
    """A file beside the picture, `text`, or a file where there is one and else `text`."""
    text: str = ""
    """The caption of pictures that have none of their own."""
    prefix: str = ""
    """Put before each caption, with the separator between; neither shuffled nor dropped."""
    suffix: str = ""
    """Put after each caption, with the separator between; neither shuffled nor dropped."""
    shuffle_tags: bool = False
    """Whether the caption's tags are in another order on each visit."""
    keep_tags: int = 0
    """Tags at the caption's front that are neither shuffled nor dropped; activation tag and prefix are not counted."""
    tag_dropout: float = 0.0
    """Probability that a tag is left out of a visit."""
    caption_dropout: float = 0.0
    """Probability that a visit has an empty caption, without activation tag: an unconditional example."""
    separator: str = ","
    """Between tags, as they are written and as they are learnt."""
    keep_separator: str = ""
    """Parts the tags that stay in front, those that are shuffled and dropped, and those that stay at the end."""
    group_separator: str = ""
    """Joins tags that are shuffled and dropped together."""
    wildcards: bool = False
    """Whether `{a|b}` stands for one of its alternatives."""
    lines_as_alternatives: bool = False
    """Whether a variant has one line of a caption file, instead of all of it."""
    variants: int = 16
    """Captions that vary repeat after so many visits, so that their embeddings can be kept."""

    @property
    def varies(self) -> bool:
        """Whether a picture's caption can differ between visits, apart from being empty."""
        return self.shuffle_tags or self.tag_dropout > 0 or self.has_alternatives

    @property
    def has_alternatives(self) -> bool:
        return self.wildcards or self.lines_as_alternatives


@dataclass(frozen=True, kw_only=True)
class SubsetRules:
    """A part of a dataset. A picture belongs to the subset with the longest prefix that its path starts with."""

    path_prefix: str = ""
    """Start of the path, such as `10_cat/`; empty for every file."""
    repeats: int = 1
    """Visits of each picture in an epoch."""
    captions: CaptionRules = field(default_factory=CaptionRules)
    concept: int = 0
    """Place among the job's concepts of the one that the pictures show."""
    activation_tag: str = ""
    """Of that concept; empty if it has none, or if the pictures show its class."""
    class_images: bool = False
    """Whether the pictures show the class and not the concept."""
    weight: float = 1.0
    """What an error on one of these pictures counts in the loss; prior preservation's weight is in it."""
    flip_probability: float = 0.0
    """Probability that a visit mirrors the picture left to right."""


@dataclass(frozen=True, kw_only=True)
class PictureRules:
    """Sizes of training pictures, in pixels, and what of them is learnt."""

    resolution: int
    """Area of a training picture, as the side of a square."""
    bucket_step: int
    """Sides of buckets are multiples of this."""
    buckets: bool = True
    """Whether pictures keep their aspect ratio roughly, instead of all being cropped to squares."""
    upscale: bool = False
    """Whether small pictures are enlarged; otherwise their bucket shrinks to them."""
    crop: CropName = "center"
    """Which part is kept where a picture does not fit its bucket."""
    crop_variants: int = 4
    """Places that a random crop chooses from."""
    background: str = "#ffffff"
    """What transparent pictures are laid on, `#rrggbb`."""
    masks: MaskSource = "none"
    """Where it stands which part of a picture is learnt."""
    mask_folder: str = ""
    """Where mask files lie, in the picture's folders; empty for `NAME.mask.png` beside it."""
