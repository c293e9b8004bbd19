"""Where pictures are cut: always inside, evenly spread or where the detail is; and what a view says of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from skimage import data

from trainer.data.buckets import Fit, TooSmall, fit
from trainer.data.crops import detail_of, richest, sketch_size, slack, spread
from trainer.data.rules import PictureRules

SIZES = st.integers(8, 3000)


def fitted(width: int, height: int, resolution: int = 64, **rules: bool) -> Fit:
    return fit(width, height, PictureRules(resolution=resolution, bucket_step=8, **rules))


@settings(max_examples=100)
@given(width=SIZES, height=SIZES, count=st.integers(2, 64), seed=st.integers(0, 9), keep=st.booleans())
def test_every_crop_fills_its_bucket_from_inside_the_picture(
    width: int, height: int, count: int, seed: int, keep: bool
) -> None:
    try:
        fit_ = fitted(width, height, buckets=keep)
    except TooSmall:
        return
    detail = np.random.default_rng(seed).random(sketch_size(width, height)[::-1])
    for left, top, right, bottom in (fit_.crop, richest(fit_, detail), *spread(fit_, count)):
        assert (right - left, bottom - top) == (fit_.bucket.width, fit_.bucket.height)
        assert 0 <= left < right <= fit_.resize[0]
        assert 0 <= top < bottom <= fit_.resize[1]


@pytest.mark.parametrize(
    ("size", "count", "lefts", "tops"),
    [
        ((128, 64), 2, [0, 64], [0, 0]),
        ((128, 64), 5, [0, 16, 32, 48, 64], [0] * 5),
        ((64, 128), 3, [0, 0, 0], [0, 32, 64]),
        ((64, 64), 4, [0], [0]),
        ((66, 64), 8, [0, 1, 2], [0, 0, 0]),
    ],
)
def test_random_crops_are_spread_from_end_to_end(
    size: tuple[int, int], count: int, lefts: list[int], tops: list[int]
) -> None:
    places = spread(fitted(*size, buckets=False), count)
    assert [box[0] for box in places] == lefts
    assert [box[1] for box in places] == tops


def test_a_small_picture_for_the_search_is_never_larger_than_the_picture() -> None:
    assert sketch_size(3000, 1000) == (96, 32)
    assert sketch_size(1000, 3000) == (32, 96)
    assert sketch_size(50, 20) == (50, 20)
    assert sketch_size(3000, 10) == (96, 1)


def smart_centre(picture: Image.Image) -> float:
    """Where the middle of the smart square crop lies along the longer side, 0 to 1."""
    fit_ = fitted(*picture.size, buckets=False)
    small = np.asarray(picture.convert("RGB").resize(sketch_size(*picture.size)))
    left, top, right, bottom = richest(fit_, detail_of(small))
    axis = 0 if slack(fit_)[0] else 1
    return ((left + right) / 2, (top + bottom) / 2)[axis] / fit_.resize[axis]


@pytest.mark.parametrize("place", [40, 150, 260])
def test_a_thing_on_a_plain_ground_is_kept(place: int) -> None:
    picture = Image.new("RGB", (300, 100), "skyblue")
    pen = ImageDraw.Draw(picture)
    pen.line((0, 70, 300, 70), fill="darkgreen", width=2)  # a horizon runs through all of it
    pen.ellipse((place - 20, 30, place + 20, 70), fill="red", outline="black")
    pen.line((place - 15, 35, place + 15, 65), fill="yellow", width=4)
    pixels = place / 300
    assert abs(smart_centre(picture) - np.clip(pixels, 1 / 6, 5 / 6)) < 0.06


def test_a_picture_without_detail_is_cut_in_the_middle() -> None:
    assert smart_centre(Image.new("RGB", (300, 100), "white")) == pytest.approx(0.5, abs=0.01)
    assert smart_centre(Image.new("RGB", (100, 300), "black")) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_real_face_beside_a_plain_wall_is_kept(side: str) -> None:
    face = Image.fromarray(data.astronaut()).crop((140, 0, 320, 200)).resize((90, 100))
    picture = Image.new("RGB", (300, 100), (180, 170, 160))
    picture.paste(face, (5 if side == "left" else 205, 0))
    assert smart_centre(picture) == pytest.approx(1 / 6 if side == "left" else 5 / 6, abs=0.05)
