"""Aspect buckets: the few sizes that training pictures have, and which part of a picture fills one. Pure.

All sizes are in pixels, (width, height).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from trainer.data.rules import PictureRules

LARGEST_ASPECT = 4
"""No bucket is longer than this many times its other side."""


class TooSmall(ValueError):
    """A picture is smaller than one bucket step, and enlarging was not asked for."""


@dataclass(frozen=True, order=True)
class Bucket:
    """The size of a group of training pictures. One batch holds pictures of one bucket."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}×{self.height}"


@dataclass(frozen=True)
class Fit:
    """How a picture fills its bucket: resized to `resize`, and `crop` (left, top, right, bottom) cut out of that."""

    bucket: Bucket
    resize: tuple[int, int]
    crop: tuple[int, int, int, int]
    shrunk: bool = False
    """Whether the bucket is smaller than the rules would have it, because the picture is."""

    @property
    def lost(self) -> float:
        """Share of the picture's area that is cut off, 0 to 1."""
        return 1 - self.bucket.width * self.bucket.height / (self.resize[0] * self.resize[1])


@lru_cache
def buckets(resolution: int, step: int) -> tuple[Bucket, ...]:
    """Every bucket of at most `resolution`² pixels: for each side the longest other side, up to 4:1, in steps.

    In order of width. Empty if `step` is above `resolution`.
    """
    sides = range(step, LARGEST_ASPECT * resolution + 1, step)
    pairs = [(side, resolution**2 // side // step * step) for side in sides]
    fitting = [(a, b) for a, b in pairs if a <= LARGEST_ASPECT * b and b <= LARGEST_ASPECT * a]
    upright_and_lying = {Bucket(a, b) for a, b in fitting} | {Bucket(b, a) for a, b in fitting}
    return tuple(sorted(upright_and_lying))


def square(resolution: int, step: int) -> Bucket:
    """The bucket of all pictures if aspect ratios are not kept."""
    side = resolution // step * step
    return Bucket(side, side)


def nearest(width: int, height: int, choice: tuple[Bucket, ...]) -> Bucket:
    """The bucket whose aspect ratio differs least from the picture's, by its logarithm; of equals the largest."""

    def distance(bucket: Bucket) -> tuple[float, int, Bucket]:
        # Rounded: mirrored aspect ratios stay equally near, whatever the logarithm does in its last digit.
        difference = abs(math.log(width * bucket.height / (height * bucket.width)))
        return round(difference, 9), -bucket.width * bucket.height, bucket

    return min(choice, key=distance)


def fit(width: int, height: int, rules: PictureRules) -> Fit:
    """The bucket of a picture of this size, and how the picture is scaled and cut in the middle to fill it.

    Raises TooSmall if it would have to be enlarged to fill even one step.
    """
    if rules.buckets:
        bucket = nearest(width, height, buckets(rules.resolution, rules.bucket_step))
    else:
        bucket = square(rules.resolution, rules.bucket_step)
    if rules.upscale or (bucket.width <= width and bucket.height <= height):
        return _filling(width, height, bucket)
    return replace(_filling(width, height, _shrunk(bucket, width, height, rules)), shrunk=True)


def _shrunk(bucket: Bucket, width: int, height: int, rules: PictureRules) -> Bucket:
    """The largest bucket within this one that the picture fills without being enlarged."""
    step = rules.bucket_step
    fitting_width = min(bucket.width, width // step * step)
    fitting_height = min(bucket.height, height // step * step)
    if not fitting_width or not fitting_height:
        raise TooSmall(f"{width}×{height} is smaller than one bucket step of {step} pixels")
    longest = min(fitting_width, fitting_height) * (LARGEST_ASPECT if rules.buckets else 1)
    return Bucket(min(fitting_width, longest), min(fitting_height, longest))


def _filling(width: int, height: int, bucket: Bucket) -> Fit:
    """Scales until both sides are covered, then keeps the middle. Whole pixels, and no rounding leaves a gap."""
    if bucket.width * height >= bucket.height * width:
        resize = (bucket.width, max(bucket.height, round(height * bucket.width / width)))
    else:
        resize = (max(bucket.width, round(width * bucket.height / height)), bucket.height)
    left, top = (resize[0] - bucket.width) // 2, (resize[1] - bucket.height) // 2
    return Fit(bucket, resize, (left, top, left + bucket.width, top + bucket.height))
