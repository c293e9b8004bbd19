"""Noise and timesteps: each option does what its source says, and changes no other draw."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from trainer.config_fitting import NoiseConfig
from trainer.draws import generator
from trainer.noise import logit_normal, pyramid_noise
from trainer.noise_draws import Drawn, draw, draw_timestep

PLAIN = NoiseConfig(
    offset=0.0,
    input_perturbation=0.0,
    pyramid_levels=0,
    pyramid_discount=0.3,
    timestep_sampling="uniform",
    logit_mean=0.0,
    logit_deviation=1.0,
    min_timestep=0,
    max_timestep=1000,
)
KEY, SHAPE = ("a.png", "id", 3), (4, 32, 24)


def drawn(**changed: object) -> Drawn:
    return draw(dataclasses.replace(PLAIN, **changed), 7, KEY, SHAPE, 1000)  # type: ignore[arg-type]


def test_plain_noise_is_what_its_key_says() -> None:
    found = drawn()
    expected = generator(7, "noise", *KEY).standard_normal(SHAPE, dtype=np.float32)
    assert torch.equal(found.eps, torch.from_numpy(expected))
    assert found.seen is found.eps
    assert found.timestep == int(generator(7, "timestep", *KEY).integers(1000))


@pytest.mark.parametrize(
    "changed", [{"offset": 0.1}, {"input_perturbation": 0.1}, {"pyramid_levels": 3}, {"max_timestep": 500}]
)
def test_an_option_leaves_the_other_draws_alone(changed: dict[str, object]) -> None:
    with_it = drawn(**changed)
    if "max_timestep" in changed:
        assert torch.equal(with_it.eps, drawn().eps)
    else:
        assert with_it.timestep == drawn().timestep


def test_offset_noise_moves_each_channel_by_one_number() -> None:
    moved = drawn(offset=0.2).eps - drawn().eps
    for channel in moved:
        torch.testing.assert_close(channel, channel[0, 0].expand_as(channel), rtol=0, atol=1e-6)
    xi = generator(7, "noise offset", *KEY).standard_normal((4, 1, 1), dtype=np.float32)
    torch.testing.assert_close(moved[:, 0, 0], 0.2 * torch.from_numpy(xi).flatten(), rtol=0, atol=1e-6)


def test_input_perturbation_is_in_the_input_and_not_in_the_target() -> None:
    found = drawn(input_perturbation=0.1)
    assert torch.equal(found.eps, drawn().eps)
    more = (found.seen - found.eps) / 0.1
    assert float(more.std()) == pytest.approx(1, abs=0.05)
    assert abs(float((more * found.eps).mean())) < 0.05, "it is another draw than the noise"


def test_pyramid_noise_adds_low_frequencies_and_keeps_the_deviation() -> None:
    plain, coarse = drawn().eps, drawn(pyramid_levels=6, pyramid_discount=0.9).eps
    assert float(coarse.std()) == pytest.approx(1, abs=1e-4)

    def of_large_areas(eps: torch.Tensor) -> float:
        return float(torch.nn.functional.avg_pool2d(eps, 8).std())

    assert of_large_areas(coarse) > 3 * of_large_areas(plain)


def test_pyramid_noise_is_the_discounted_sum() -> None:
    eps, level = torch.randn(1, 2, 8, 8), torch.randn(1, 2, 1, 1)
    summed = eps + 0.5 * level.expand(1, 2, 8, 8) + 0.25 * level.expand(1, 2, 8, 8)
    torch.testing.assert_close(pyramid_noise(eps, [level, level], 0.5), summed / summed.std(), rtol=1e-5, atol=1e-6)


def timesteps(count: int = 4000, **changed: object) -> np.ndarray:
    config = dataclasses.replace(PLAIN, **changed)  # type: ignore[arg-type]
    return np.array([draw_timestep(config, 7, ("a", number), 1000) for number in range(count)])


def test_timesteps_are_uniform_within_their_range() -> None:
    found = timesteps(min_timestep=200, max_timestep=400)
    assert (found.min(), found.max()) == (200, 399)
    counts = np.histogram(found, bins=4, range=(200, 400))[0]
    assert counts == pytest.approx([1000] * 4, rel=0.15)


def test_logit_normal_timesteps_follow_their_density() -> None:
    """The quantiles of sigmoid(mean + deviation u) are the sigmoids of the normal quantiles."""
    found = timesteps(timestep_sampling="logit_normal", logit_mean=-0.5, logit_deviation=0.8)
    for share, normal_quantile in ((0.1587, -1.0), (0.5, 0.0), (0.8413, 1.0)):
        expected = 1000 / (1 + math.exp(0.5 - 0.8 * normal_quantile))
        assert np.quantile(found, share) == pytest.approx(expected, rel=0.06)
    assert logit_normal(0, 0, 1) == 0.5


def test_a_base_with_fewer_timesteps_bounds_the_range() -> None:
    assert max(draw_timestep(PLAIN, 7, ("a", number), 10) for number in range(200)) == 9
    normal = dataclasses.replace(PLAIN, timestep_sampling="logit_normal", logit_mean=4.0, logit_deviation=4.0)
    assert max(draw_timestep(normal, 7, ("a", number), 10) for number in range(200)) == 9
