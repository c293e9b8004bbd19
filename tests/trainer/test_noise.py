"""Diffusion's equations against diffusers, over every timestep."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler

from trainer.losses import min_snr_weight
from trainer.noise import add_noise, alphas_cumprod, target
from trainer.schedules import default_warmup, rate_factor


@pytest.mark.parametrize("zero_terminal_snr", [False, True])
@pytest.mark.parametrize("schedule", ["linear", "scaled_linear"])
def test_noising_is_that_of_diffusers(schedule: str, zero_terminal_snr: bool) -> None:
    theirs = DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule=schedule, rescale_betas_zero_snr=zero_terminal_snr
    )
    table = alphas_cumprod(schedule, 0.00085, 0.012, 1000, zero_terminal_snr=zero_terminal_snr)
    torch.testing.assert_close(table, theirs.alphas_cumprod, rtol=1e-4, atol=2e-6)
    timesteps = torch.arange(0, 1000, 37)
    x0, eps = torch.randn(2, len(timesteps), 4, 2, 2, generator=torch.Generator().manual_seed(0))
    abar = table[timesteps]
    torch.testing.assert_close(add_noise(x0, eps, abar), theirs.add_noise(x0, eps, timesteps), rtol=1e-4, atol=1e-3)
    velocity = theirs.get_velocity(x0, eps, timesteps)
    torch.testing.assert_close(target("v_prediction", x0, eps, abar), velocity, rtol=1e-4, atol=1e-3)
    assert target("epsilon", x0, eps, abar) is eps


def test_min_snr_weighs_down_what_has_little_noise() -> None:
    abar = torch.tensor([0.9, 0.5, 0.1])  # SNR 9, 1, 1/9
    torch.testing.assert_close(min_snr_weight(abar, 5, "epsilon"), torch.tensor([5 / 9, 1.0, 1.0]))
    torch.testing.assert_close(min_snr_weight(abar, 5, "v_prediction"), torch.tensor([0.5, 0.5, 0.1]))
    assert min_snr_weight(abar, 0, "epsilon").tolist() == [1, 1, 1]
    pure_noise = torch.tensor([0.0])
    assert (min_snr_weight(pure_noise, 5, "epsilon"), min_snr_weight(pure_noise, 5, "v_prediction")) == (1, 0)
    pure_noise = torch.tensor([0.0])
    assert min_snr_weight(pure_noise, 5, "v_prediction").tolist() == [0]


@pytest.mark.parametrize(
    ("schedule", "step", "warmup", "factor"),
    [
        ("constant", 0, 0, 1.0),
        ("constant", 99, 0, 1.0),
        ("constant", 0, 4, 0.25),
        ("constant", 3, 4, 1.0),
        ("linear", 0, 0, 1.0),
        ("linear", 50, 0, 0.5),
        ("linear", 55, 10, 0.5),
        ("cosine", 10, 10, 1.0),
        ("cosine", 55, 10, 0.5),
        ("cosine", 99, 0, 0.0002467),
    ],
)
def test_rates(schedule: str, step: int, warmup: int, factor: float) -> None:
    assert rate_factor(schedule, step, 100, warmup) == pytest.approx(factor, rel=1e-3)


def test_warmup_is_a_twentieth_and_at_most_a_hundred_steps() -> None:
    assert [default_warmup(steps) for steps in (1, 19, 20, 1000, 50_000)] == [0, 0, 1, 50, 100]
