from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.buckets import Bucket, TooSmall, buckets, fit, nearest
from trainer.data.rules import PictureRules


def test_the_buckets_at_512_pixels_are_these() -> None:
    upright = [(256, side) for side in (832, 896, 960, 1024)] + [(320, 704), (320, 768), (384, 640), (448, 576)]
    lying = [(height, width) for width, height in upright]
    assert [(b.width, b.height) for b in buckets(512, 64)] == sorted([*upright, (512, 512), *lying])


@pytest.mark.parametrize(
    ("resolution", "step"), [(64, 8), (128, 8), (256, 64), (512, 64), (768, 64), (1024, 128), (512, 96)]
)
def test_buckets_keep_area_step_and_aspect(resolution: int, step: int) -> None:
    found = buckets(resolution, step)
    for bucket in found:
        assert bucket.width * bucket.height <= resolution**2
        assert bucket.width % step == bucket.height % step == 0
        assert 1 / 4 <= bucket.width / bucket.height <= 4
    assert {Bucket(b.height, b.width) for b in found} == set(found)
    side = resolution // step * step
    assert Bucket(side, side) in found


def test_no_bucket_below_one_step() -> None:
    assert buckets(64, 128) == ()


@pytest.mark.parametrize(
    ("size", "bucket"),
    [
        ((1000, 1000), (512, 512)),
        ((3000, 2000), (640, 384)),
        ((2000, 3000), (384, 640)),
        ((4000, 1000), (1024, 256)),
        ((9000, 1000), (1024, 256)),
        ((512, 512), (512, 512)),
    ],
)
def test_nearest_aspect_ratio(size: tuple[int, int], bucket: tuple[int, int]) -> None:
    assert nearest(*size, buckets(512, 64)) == Bucket(*bucket)


@pytest.mark.parametrize(
    ("size", "options", "bucket", "resize", "crop"),
    [
        ((1024, 1024), {}, (512, 512), (512, 512), (0, 0, 512, 512)),
        ((1200, 800), {"buckets": False}, (512, 512), (768, 512), (128, 0, 640, 512)),
        ((800, 1200), {"buckets": False}, (512, 512), (512, 768), (0, 128, 512, 640)),
        ((1500, 1000), {}, (640, 384), (640, 427), (0, 21, 640, 405)),
        # Smaller than its bucket: the bucket shrinks to it …
        ((300, 200), {}, (256, 192), (288, 192), (16, 0, 272, 192)),
        ((300, 200), {"buckets": False}, (192, 192), (288, 192), (48, 0, 240, 192)),
        ((2000, 100), {}, (256, 64), (1280, 64), (512, 0, 768, 64)),
        # … unless enlarging is asked for.
        ((300, 200), {"upscale": True}, (640, 384), (640, 427), (0, 21, 640, 405)),
        ((10, 10), {"upscale": True}, (512, 512), (512, 512), (0, 0, 512, 512)),
    ],
)
def test_fit(
    size: tuple[int, int],
    options: dict[str, bool],
    bucket: tuple[int, int],
    resize: tuple[int, int],
    crop: tuple[int, int, int, int],
) -> None:
    fitted = fit(*size, PictureRules(resolution=512, bucket_step=64, **options))
    assert (fitted.bucket, fitted.resize, fitted.crop) == (Bucket(*bucket), resize, crop)


def test_a_picture_below_one_step_is_too_small() -> None:
    with pytest.raises(TooSmall, match="60×500 is smaller than one bucket step of 64 pixels"):
        fit(60, 500, PictureRules(resolution=512, bucket_step=64))


@settings(max_examples=50)
@given(
    width=st.integers(8, 5000),
    height=st.integers(8, 5000),
    resolution=st.sampled_from([64, 128, 512, 768]),
    step=st.sampled_from([8, 64]),
    keep=st.booleans(),
    upscale=st.booleans(),
)
def test_every_fit_fills_its_bucket_from_inside_the_picture(
    width: int, height: int, resolution: int, step: int, keep: bool, upscale: bool
) -> None:
    rules = PictureRules(resolution=resolution, bucket_step=step, buckets=keep, upscale=upscale)
    try:
        fitted = fit(width, height, rules)
    except TooSmall:
        assert not upscale
        assert min(width, height) < step
        return
    left, top, right, bottom = fitted.crop
    assert (right - left, bottom - top) == (fitted.bucket.width, fitted.bucket.height)
    assert 0 <= left < right <= fitted.resize[0]
    assert 0 <= top < bottom <= fitted.resize[1]
    assert fitted.bucket.width % step == fitted.bucket.height % step == 0
    assert fitted.bucket.width * fitted.bucket.height <= resolution**2
    assert 1 / 4 <= fitted.bucket.width / fitted.bucket.height <= 4
    # The picture's own aspect ratio is kept but for rounding to whole pixels.
    scale = max(fitted.bucket.width / width, fitted.bucket.height / height)
    assert math.isclose(fitted.resize[0], width * scale, abs_tol=0.51)
    assert math.isclose(fitted.resize[1], height * scale, abs_tol=0.51)
    if not upscale:
        assert fitted.resize[0] <= width
        assert fitted.resize[1] <= height
