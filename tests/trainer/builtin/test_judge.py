"""The judge that every figure about shapes rests on: right about shapes, and not taken in by what only looks like one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.builtin.shapes import draw, judge, lookalikes
from trainer.builtin.shapes.judge import OTHER, WEIGHTS, Judge, Verdict, load_judge, save_judge
from trainer.builtin.shapes.judge_training import as_tensor


@pytest.fixture(scope="module")
def shipped() -> Judge:
    return load_judge()


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, 99]))


def test_it_is_small() -> None:
    assert sum(parameter.numel() for parameter in Judge().parameters()) <= 60_000
    assert WEIGHTS.stat().st_size <= 130_000


def test_it_is_right_about_drawn_pictures(shipped: Judge) -> None:
    rng = _rng(1)
    scenes = [draw.random_scene(rng, [draw.SHAPES[number % 8]], striped=0) for number in range(400)]
    verdicts = shipped.verdicts(as_tensor([draw.draw(scene) for scene in scenes]).float() / 255)
    pairs = list(zip(scenes, verdicts, strict=True))
    assert np.mean([verdict == Verdict(scene.shape, scene.color, scene.background) for scene, verdict in pairs]) >= 0.98
    for shape in draw.SHAPES:
        wrong = [verdict.shape for scene, verdict in pairs if scene.shape == shape != verdict.shape]
        assert len(wrong) <= 2, f"of 50 pictures of a {shape}, {len(wrong)} are taken for {set(wrong)}"


@pytest.mark.parametrize("kind", lookalikes.MASKS)
def test_what_only_looks_like_a_shape_is_other(shipped: Judge, kind: str) -> None:
    rng = _rng(2)
    pictures = [
        lookalikes.painted(
            lookalikes.MASKS[kind](rng), judge.COLORS[rng.integers(8)], judge.BACKGROUNDS[rng.integers(4)]
        )
        for _ in range(60)
    ]
    named = [verdict.shape for verdict in shipped.verdicts(as_tensor(pictures).float() / 255)]
    # Now and then two shapes do melt into a third, so not every single one.
    assert named.count(OTHER) >= 48, f"{kind}: {sorted(set(named))}"
    assert named.count("heart") <= 3, f"{kind} is taken for a heart"


def test_noise_and_plain_grey_are_other(shipped: Judge) -> None:
    rng = _rng(3)
    pictures = as_tensor([lookalikes.noise(rng) for _ in range(40)]).float() / 255
    pictures = torch.cat([pictures, torch.full((1, 3, draw.SIZE, draw.SIZE), 0.5)])
    assert {verdict.shape for verdict in shipped.verdicts(pictures)} == {OTHER}


def test_a_verdict_does_not_depend_on_the_batch(shipped: Judge) -> None:
    rng = _rng(4)
    pictures = as_tensor([draw.draw(draw.random_scene(rng)) for _ in range(70)]).float() / 255
    together = shipped.verdicts(pictures)
    assert [shipped.verdicts(picture[None])[0] for picture in pictures] == together


def test_saving_and_loading_keeps_the_weights_to_half_precision(tmp_path) -> None:
    torch.manual_seed(0)
    made = Judge()
    save_judge(made, tmp_path / "judge.safetensors")
    loaded = load_judge(tmp_path / "judge.safetensors")
    for name, value in made.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.half().float()), name
