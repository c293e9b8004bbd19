"""From which values on a picture is worth a look. Each limit with where it comes from; `bench/data_report.py` tries them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What suggestions are made by."""

    few_pictures: int = 8
    """Below it an adapter repeats its pictures instead of learning what they share."""
    lost: float = 0.3
    """Share of a picture's area that is cut off: about what a 3:2 photograph loses to a square."""
    enlarged: float = 1.5
    """Factor from which an enlarged picture has visibly less detail than its pixels."""
    tiny: float = 0.5
    """Share of the resolution's area that a small picture lacks."""
    blur: float = 0.55
    """`sharpness.blur`."""
    low_contrast: float = 0.15
    """`lightness.contrast`; scikit-image's `is_low_contrast` draws the line at 0.05, which only a spoilt picture passes."""
    bar: float = 0.02
    """Share of a side that a bar takes."""
    identical_captions: float = 0.5
    """Share of pictures with the same caption from which it is said: then the caption tells pictures apart no more."""
    in_every_caption: float = 0.95
    """Share of captions with a tag from which it says the same as the activation tag."""
    subset_share: float = 10.0
    """How many times as often as another a subset may be visited before it is said."""
    reconstruction_outlier: float = 3.0
    """Times the median error from which the VAE is said not to keep a picture."""
    reconstruction_least: float = 0.04
    """Errors below this are not seen, however unusual: about 28 dB."""
    wrong_words: float = -0.2
    """`words_gain` below which a part of a caption is probably wrong: the base model errs a fifth more with it."""
    fits_better: float = 0.2
    """`instead_gain` above which what other captions say fits a picture better than what its own says."""
    speaks_of_these: float = 0.1
    """Median `caption_gain` from which the base model knows what the captions speak of. Of what it does not know every word may
    mislead it, so that nothing follows."""


LIMITS = Limits()
