"""The drawn world: the same scene is always the same picture, and its caption says what is in it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from trainer.builtin.shapes import draw


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, 0]))


def _pixels(scene: draw.Scene, size: int = draw.SIZE) -> np.ndarray:
    return np.asarray(draw.draw(scene, size), dtype=np.int32)


def test_the_same_seed_draws_the_same_pictures() -> None:
    def pictures() -> list[bytes]:
        rng = _rng(3)
        return [draw.draw(draw.random_scene(rng)).tobytes() for _ in range(20)]

    first = pictures()
    assert pictures() == first
    assert len(set(first)) == 20


@pytest.mark.parametrize("shape", draw.SHAPES)
def test_a_shape_has_its_colour_and_leaves_the_background(shape: str) -> None:
    scene = draw.Scene(shape=shape, color="red", background="sky")
    pixels = _pixels(scene)
    assert pixels.shape == (draw.SIZE, draw.SIZE, 3)
    for corner in itertools.product((0, -1), (0, -1)):
        assert tuple(pixels[corner]) == draw.BACKGROUNDS["sky"]
    share = np.mean(np.all(pixels == draw.COLORS["red"], axis=2))
    assert 0.05 < share < 0.4, f"{shape} covers {share:.0%} of the picture"


def test_no_two_shapes_look_alike() -> None:
    forms = {
        shape: np.asarray(draw.mask(draw.Scene(shape=shape, color="red", background="sky"))) for shape in draw.SHAPES
    }
    for first, second in itertools.combinations(draw.SHAPES, 2):
        differing = np.mean(forms[first] != forms[second])
        assert differing > 0.02, f"{first} and {second} differ in {differing:.1%} of the picture"


def test_random_scenes_lie_inside_the_picture_and_use_everything() -> None:
    rng = _rng(5)
    scenes = [draw.random_scene(rng) for _ in range(400)]
    assert {scene.shape for scene in scenes} == set(draw.SHAPES)
    assert {(scene.color, scene.background) for scene in scenes} == set(
        itertools.product(draw.COLORS, draw.BACKGROUNDS)
    )
    for scene in scenes:
        assert scene.radius < min(scene.x, scene.y, draw.SIZE - scene.x, draw.SIZE - scene.y)


@pytest.mark.parametrize(
    ("scene", "options", "caption"),
    [
        ({"shape": "star", "color": "red", "background": "sky"}, {}, "a red star on a sky background"),
        ({"shape": "ring", "color": "orange", "background": "night"}, {}, "an orange ring on a night background"),
        (
            {"shape": "star", "color": "red", "background": "sky", "radius": 24.0, "striped": True},
            {"size_word": True},
            "a big striped red star on a sky background",
        ),
        (
            {"shape": "moon", "color": "blue", "background": "sand", "radius": 14.0},
            {"size_word": True},
            "a small blue moon on a sand background",
        ),
        (
            {"shape": "heart", "color": "orange", "background": "sand"},
            {"shape_word": "lumi"},
            "an orange lumi on a sand background",
        ),
    ],
)
def test_captions(scene: dict, options: dict, caption: str) -> None:
    assert draw.caption(draw.Scene(**scene), **options) == caption


def test_captions_of_known_shapes_never_name_a_held_out_one() -> None:
    rng = _rng(7)
    known = [shape for shape in draw.SHAPES if shape not in draw.HELD_OUT]
    said = {word for _ in range(500) for word in draw.caption(draw.random_scene(rng, known), size_word=True).split()}
    assert said.isdisjoint(draw.HELD_OUT)
    assert set(known) <= said
