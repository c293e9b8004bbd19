"""Measures of pixels: each finds what it is for, and does not find what only looks like it."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from trainer.builtin.shapes import draw
from trainer.data_report.frames import bars
from trainer.data_report.lightness import contrast
from trainer.data_report.likeness import Sketch, difference_hash, near_duplicates, small_colours
from trainer.data_report.limits import LIMITS
from trainer.data_report.marks import carriers, edges_near_border
from trainer.data_report.sharpness import blur, laplacian_variance, light_of

Pixels = NDArray[np.uint8]


def scenery(seed: int, side: int = 256) -> Image.Image:
    """As in a photograph: things of all sizes with sharp edges, on uneven ground."""
    rng = np.random.default_rng(seed)
    ground = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    pen = ImageDraw.Draw(ground)
    for _ in range(60):
        x, y, r = (int(value) for value in rng.integers((0, 0, 3), (side, side, side // 8)))
        pen.ellipse((x - r, y - r, x + r, y + r), fill=tuple(int(value) for value in rng.integers(0, 256, 3)))
    return ground


def drawing(seed: int) -> Image.Image:
    return draw.draw(draw.random_scene(np.random.default_rng(seed)))


def pixels(picture: Image.Image) -> Pixels:
    return np.asarray(picture.convert("RGB"))


def light(picture: Image.Image) -> NDArray[np.float64]:
    return light_of(pixels(picture))


def sketch(picture: Image.Image) -> Sketch:
    one = light(picture)
    return Sketch(difference_hash(one), difference_hash(one[:, ::-1]), small_colours(pixels(picture)))


@pytest.mark.parametrize("make", [scenery, drawing])
def test_blur_grows_with_the_blur_and_sharpness_falls(make: Callable[[int], Image.Image]) -> None:
    for seed in range(4):
        softer = [light(make(seed).filter(ImageFilter.GaussianBlur(radius))) for radius in (0, 0.7, 1.5)]
        assert np.all(np.diff([blur(one) for one in softer]) > 0)
        assert np.all(np.diff([laplacian_variance(one) for one in softer]) < 0)


def test_the_limit_parts_sharp_pictures_from_blurred_ones() -> None:
    assert all(blur(light(make(seed))) < LIMITS.blur for seed in range(6) for make in (scenery, drawing))
    assert all(blur(light(scenery(seed).filter(ImageFilter.GaussianBlur(3)))) > LIMITS.blur for seed in range(6))


def test_a_picture_of_one_colour_is_neither_blurred_nor_an_error() -> None:
    flat = np.full((64, 64, 3), 90, np.uint8)
    assert blur(light_of(flat)) == 0
    assert laplacian_variance(light_of(flat)) == 0
    assert contrast(flat) == 0
    assert bars(light_of(flat)) == (0, 0, 0, 0)
    assert blur(light_of(np.zeros((2, 2, 3), np.uint8))) == 0
    assert laplacian_variance(light_of(np.zeros((2, 2, 3), np.uint8))) == 0


def test_contrast_is_of_colours_not_only_of_light() -> None:
    halves = np.zeros((64, 64, 3), np.uint8)
    halves[:, :32], halves[:, 32:] = (200, 60, 60), (60, 131, 60)  # of the same luma
    assert abs(light_of(halves)[0, 0] - light_of(halves)[0, -1]) < 0.01
    assert contrast(halves) > 0.5
    assert (
        contrast(pixels(ImageEnhance.Contrast(scenery(0)).enhance(0.1)))
        < LIMITS.low_contrast
        < contrast(pixels(scenery(0)))
    )


@pytest.mark.parametrize("side", range(4))
def test_bars_are_measured_on_each_side(side: int) -> None:
    picture = scenery(1)
    box = [0, 0, *picture.size]
    box[side] = 32 if side < 2 else 224
    boxed = Image.new("RGB", picture.size, "black")
    boxed.paste(picture.crop(tuple(box)), tuple(box[:2]))
    expected = [0.0] * 4
    expected[side] = 0.125
    assert list(bars(light(boxed))) == pytest.approx(expected)


def test_a_plain_ground_is_no_bar() -> None:
    assert all(bars(light(drawing(seed))) == (0, 0, 0, 0) for seed in range(10))


def recompressed(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=50)
    return Image.open(buffer)


@pytest.mark.parametrize(
    "change",
    [
        recompressed,
        ImageOps.mirror,
        lambda one: one.resize((one.width // 2, one.height // 2)),
        lambda one: ImageEnhance.Brightness(one).enhance(1.1),
    ],
    ids=["recompressed", "mirrored", "smaller", "brighter"],
)
def test_a_changed_copy_is_found_among_others(change: Callable[[Image.Image], Image.Image]) -> None:
    for make in (scenery, drawing):
        pictures = [make(seed) for seed in range(20)]
        assert near_duplicates([sketch(one) for one in [*pictures, change(pictures[7])]]) == [[7, 20]], make


def test_copies_of_copies_are_one_group() -> None:
    one = scenery(0)
    others = [scenery(seed) for seed in (1, 2)]
    assert near_duplicates(
        [sketch(each) for each in (one, others[0], recompressed(one), others[1], ImageOps.mirror(one))]
    ) == [[0, 2, 4]]
    assert near_duplicates([]) == near_duplicates([sketch(one)]) == []


def marked(picture: Image.Image) -> Image.Image:
    out = picture.copy()
    ImageDraw.Draw(out).text((150, 230), "© somebody", fill="white", font_size=18)
    return out


def test_a_mark_at_the_same_place_of_most_pictures_is_found_with_its_carriers() -> None:
    edges = [edges_near_border(pixels(scenery(seed) if seed >= 12 else marked(scenery(seed)))) for seed in range(16)]
    found = carriers(edges)
    assert len(found) >= 10
    assert max(found) < 12


def test_pictures_without_a_mark_have_none_and_few_say_nothing() -> None:
    assert carriers([edges_near_border(pixels(scenery(seed))) for seed in range(16)]) == []
    assert carriers([edges_near_border(pixels(marked(scenery(seed)))) for seed in range(11)]) == []
