from __future__ import annotations

import pytest
import torch

from tests.trainer.tiny_base import make_tiny_base
from trainer.denoising import errors, pairs, timesteps
from trainer.families.base import Framing
from trainer.families.registry import load_base

CPU = torch.device("cpu")
FRAMING = Framing((64, 64), (0, 0), (64, 64))


def test_timesteps_are_spread_over_all() -> None:
    assert timesteps(1000, 8) == (62, 187, 312, 437, 562, 687, 812, 937)


def test_pairs_are_stratified_and_antithetic_and_the_same_for_every_text(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    base = load_base("sd15", make_tiny_base(tmp_path_factory.mktemp("base")), CPU, torch.float32)
    drawn = pairs(8, base, (4, 8, 8), "test", "picture")
    assert drawn.timesteps.tolist() == [125, 375, 625, 875] * 2
    assert torch.equal(drawn.noises[4:], -drawn.noises[:4])
    assert torch.equal(drawn.noises, pairs(8, base, (4, 8, 8), "test", "picture").noises)
    assert not torch.equal(drawn.noises, pairs(8, base, (4, 8, 8), "test", "other").noises)
    latents = torch.zeros(4, 8, 8)
    found = errors(base, base.encode_captions, latents, FRAMING, "star", drawn, 8)
    assert found.shape == (8,)
    assert torch.equal(found, errors(base, base.encode_captions, latents, FRAMING, "star", drawn, 8))
    apart = errors(base, base.encode_captions, latents, FRAMING, "star", drawn, 3)
    assert torch.allclose(found, apart, rtol=1e-4)
    # An untrained network predicts about nothing, so that the error is about that of the noise itself.
    assert found.mean() == pytest.approx(float(drawn.noises.square().mean()), rel=0.5)
