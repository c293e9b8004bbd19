"""Masks go with their pictures: turned, resized, cut and mirrored alike, and kept in the cache."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from store import open_store
from tests.trainer.data import corpus
from trainer.cache import Cache
from trainer.data.dataset import DataFile, Example, Reading, read_dataset
from trainer.data.images import Decoder
from trainer.data.rules import CaptionRules, PictureRules, SubsetRules
from trainer.data.views import offset, views_of
from trainer.errors import UserError
from trainer.masks import read_masks, reduced

FACTOR = 8
FIXED = (SubsetRules(captions=CaptionRules(source="fixed", text="a cat")),)
RULES = PictureRules(resolution=64, bucket_step=8, masks="file")
Read = Callable[..., Reading]


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as decoder:
        yield decoder


@pytest.fixture(scope="module")
def read(decoder: Decoder, tmp_path_factory: pytest.TempPathFactory) -> Read:
    work = tmp_path_factory.mktemp("work")

    def read(contents: dict[str, bytes], rules: PictureRules = RULES) -> Reading:
        blobs = {hashlib.sha256(content).hexdigest(): content for content in contents.values()}
        files = [
            DataFile(path, hashlib.sha256(content).hexdigest(), len(content)) for path, content in contents.items()
        ]
        fetch = lambda sha256, path: Path(path).write_bytes(blobs[sha256]) and None  # noqa: E731
        return read_dataset(files, fetch, work, FIXED, rules, decoder, lambda *_: None)

    return read


def cache_in(folder: Path) -> Cache:
    return Cache(open_store(f"file://{folder}/"))


def blob(width: int, height: int, seed: int) -> Image.Image:
    """Soft white discs on black, one in the middle: nothing that another filter than the mask's would much change."""
    draw = np.random.default_rng(seed)
    picture = Image.new("L", (width, height))
    radius = min(width, height) // 3
    for x, y in [(width // 2, height // 2), *draw.integers(0, (width, height), (2, 2)).tolist()]:
        ImageDraw.Draw(picture).ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return picture.filter(ImageFilter.GaussianBlur(max(width, height) / 40))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    width=st.integers(70, 300),
    height=st.integers(70, 300),
    orientation=st.integers(1, 8),
    crop=st.sampled_from(["center", "random", "smart"]),
    source=st.sampled_from(["alpha", "file"]),
    buckets=st.booleans(),
    seed=st.integers(0, 99),
)
def test_masks_show_what_their_pictures_show(
    read: Read,
    decoder: Decoder,
    tmp_path: Path,
    width: int,
    height: int,
    orientation: int,
    crop: Any,
    source: Any,
    buckets: bool,
    seed: int,
) -> None:
    """The picture is light where the mask is, so that both tell the same after every transformation."""
    shown = blob(width, height, seed)
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Image.Transpose, by EXIF orientation
    upright = shown.transpose(Image.Transpose(turned[orientation])) if orientation > 1 else shown
    if source == "alpha":
        whole = Image.merge("RGBA", (*[Image.new("L", shown.size, 255)] * 3, shown))
        contents = {"a.png": corpus.encoded(whole, exif=exif)}
    else:
        # The mask is upright, and half as large.
        half = upright.resize((max(1, upright.width // 2), max(1, upright.height // 2)))
        contents = {"a.png": corpus.encoded(shown.convert("RGB"), exif=exif), "a.mask.png": corpus.encoded(half)}
    rules = replace(RULES, crop=crop, masks=source, background="#000000", buckets=buckets)
    (example,) = read(contents, rules).examples
    masks = read_masks(
        [example], decoder, cache_in(tmp_path), factor=FACTOR, mirrored=lambda _: True, progress=lambda *_: None
    )
    assert list(masks) == list(views_of(example, mirrored=True))
    for view, mask in masks.items():
        pixels = decoder.pixels(example.file, example.resize, example.crops[view.place], background="#000000")
        seen = reduced(pixels[:, ::-1, 0] if view.mirrored else pixels[..., 0], FACTOR)
        assert mask.shape == (example.bucket.height // FACTOR, example.bucket.width // FACTOR)
        np.testing.assert_allclose(mask.numpy(), seen, atol=0.09)


def test_a_view_tells_what_is_cut_off_before_it() -> None:
    example = Example(
        id="a", path="a", sha256="", file=Path(), width=300, height=150, bucket=corpus_bucket(), resize=(128, 64),
        crops=((0, 0, 64, 64), (10, 0, 74, 64)), subset=0, caption="",
    )  # fmt: skip
    offsets = {(view.mirrored, view.place): offset(example, view) for view in views_of(example, mirrored=True)}
    assert offsets == {(False, 0): (0, 0), (True, 0): (64, 0), (False, 1): (10, 0), (True, 1): (54, 0)}
    assert [view.mirrored for view in views_of(example, mirrored=False)] == [False, False]


def corpus_bucket() -> Any:
    from trainer.data.buckets import Bucket

    return Bucket(64, 64)


def test_a_smart_crop_keeps_what_the_mask_shows(read: Read) -> None:
    # All of the detail is on the left; what counts is on the right.
    picture = Image.new("RGB", (192, 64), "white")
    picture.paste(corpus.noise(64, 64), (0, 0))
    mask = Image.new("L", (192, 64))
    mask.paste(255, (150, 10, 190, 50))
    contents = {"a.png": corpus.encoded(picture), "a.mask.png": corpus.encoded(mask)}
    rules = replace(RULES, crop="smart", buckets=False)
    assert read(contents, rules).examples[0].crops[0][0] >= 126
    assert read(contents, replace(rules, masks="none")).examples[0].crops[0][0] <= 2


def test_masks_are_kept_and_follow_what_they_depend_on(read: Read, decoder: Decoder, tmp_path: Path) -> None:
    cache = cache_in(tmp_path)

    def masks(contents: dict[str, bytes], rules: PictureRules = RULES) -> list[np.ndarray]:
        found = read_masks(
            read(contents, rules).examples,
            decoder,
            cache,
            factor=FACTOR,
            mirrored=lambda _: True,
            progress=lambda *_: None,
        )
        return [mask.numpy() for mask in found.values()]

    contents = {"a.png": corpus.png(), "a.mask.png": corpus.encoded(blob(64, 64, 1))}
    plain, mirrored = masks(contents)
    np.testing.assert_array_equal(plain[:, ::-1], mirrored)
    assert (cache.hits, cache.misses) == (0, 2)
    np.testing.assert_array_equal(masks(contents)[0], plain)
    assert (cache.hits, cache.misses) == (2, 2)
    changed = masks({**contents, "a.mask.png": corpus.encoded(blob(64, 64, 2))})
    assert not np.array_equal(changed[0], plain)
    assert (cache.hits, cache.misses) == (2, 4)


def test_where_mask_files_lie(read: Read) -> None:
    mask = corpus.encoded(blob(64, 64, 1))

    def of(files: dict[str, bytes], **rules: str) -> tuple[list[str], tuple[str, ...]]:
        pictures = {path: corpus.png(seed=n) for n, path in enumerate(("10_cat/a.jpg", "b.webp"))}
        reading = read({**pictures, **files}, replace(RULES, **rules))
        return [example.mask.path if example.mask else "" for example in reading.examples], reading.warnings

    assert of({"10_cat/a.mask.png": mask, "b-masklabel.png": mask})[0] == ["10_cat/a.mask.png", "b-masklabel.png"]
    found, warnings = of({"masks/10_cat/a.png": mask, "masks/other.png": mask}, mask_folder="masks/")
    assert found == ["masks/10_cat/a.png", ""]
    assert of({"masks/10_cat/a.png": mask, "b.mask.png": mask}, mask_folder="masks")[0][1] == "b.mask.png"
    assert "1 picture has no mask and counts wholly: 'b.webp'." in warnings
    assert "1 mask file has no picture of its name and is ignored: 'masks/other.png'." in warnings
    unused = of({"b.mask.png": mask}, masks="none")
    assert unused[0] == ["", ""]
    assert unused[1][0].startswith("1 mask file is not read: 'b.mask.png'. Set dataset.masks to file")


@pytest.mark.parametrize(
    ("contents", "rules", "problem"),
    [
        (
            {"a.mask.png": corpus.png(64, 32)},
            {},
            "Mask 'a.mask.png' has 64×32 pixels and its picture 64×64; give it the same aspect ratio",
        ),
        ({"a.mask.png": b"nothing"}, {}, "Mask 'a.mask.png' is of an unknown kind, not a JPEG"),
        (
            {"a.mask.png": corpus.png(), "a-masklabel.png": corpus.png()},
            {},
            "Masks 'a-masklabel.png' and 'a.mask.png' are of one picture; keep one of them.",
        ),
        ({}, {}, "dataset.masks is file, but no picture has a mask; upload NAME.mask.png for a picture NAME.jpg"),
        ({}, {"mask_folder": "masks"}, "no picture has a mask; upload masks/NAME.png for a picture NAME.jpg"),
        ({}, {"masks": "alpha"}, "dataset.masks is alpha, but no picture is transparent; save the pictures"),
    ],
)
def test_masks_that_cannot_be_used_are_named(
    read: Read, contents: dict[str, bytes], rules: dict[str, str], problem: str
) -> None:
    with pytest.raises(UserError) as raised:
        read({"a.png": corpus.png(), **contents}, replace(RULES, **rules))
    assert any(problem in sentence for sentence in raised.value.problems), raised.value.problems


def test_masks_that_leave_nothing_are_named_at_once(read: Read, decoder: Decoder, tmp_path: Path) -> None:
    black = corpus.encoded(Image.new("L", (64, 64)))
    names = [f"{letter}{ending}" for letter, ending in itertools.product("abc", (".png", ".mask.png"))]
    contents = {
        name: black if "mask" in name and name[0] != "b" else corpus.png(seed=n) for n, name in enumerate(names)
    }
    examples = read(contents).examples
    with pytest.raises(UserError) as raised:
        read_masks(
            examples, decoder, cache_in(tmp_path), factor=FACTOR, mirrored=lambda _: False, progress=lambda *_: None
        )
    (problem,) = raised.value.problems
    assert problem.startswith("2 pictures have masks that leave nothing of what is trained on: 'a.png', 'c.png'. Draw")
