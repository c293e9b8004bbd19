"""Each loss and weighting against its paper's equation, written out here, and against torch where torch has it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trainer import losses
from trainer.config_fitting import LossConfig

ABAR = torch.tensor([0.999, 0.9, 0.5, 0.1, 0.005])
SNR = [value / (1 - value) for value in ABAR.tolist()]
A = torch.linspace(-3, 3, 5 * 4 * 2 * 2).view(5, 4, 2, 2)


def config(**changed: object) -> LossConfig:
    plain: dict[str, object] = {
        "type": "mse",
        "threshold": 0.1,
        "threshold_schedule": "constant",
        "min_snr_gamma": 0.0,
        "soft_min_snr_gamma": 0.0,
        "debiased": False,
    }
    return LossConfig(**{**plain, **changed})  # type: ignore[arg-type]


def error(a: Tensor, loss: LossConfig, mask: Tensor | None = None) -> Tensor:
    share = torch.tensor([0.0, 0.25, 0.5, 0.75, 0.999])
    return losses.error(a, torch.zeros_like(a), loss, ABAR, share, mask)


def test_pseudo_huber_is_twice_the_papers_and_mse_for_small_errors() -> None:
    found = error(A, config(type="huber", threshold=0.3))
    for place in range(5):
        written_out = [2 * 0.3**2 * (math.sqrt(1 + (a / 0.3) ** 2) - 1) for a in A[place].flatten().tolist()]
        assert float(found[place]) == pytest.approx(sum(written_out) / len(written_out), rel=1e-5)
    small = 1e-3 * A
    torch.testing.assert_close(
        error(small, config(type="huber", threshold=10.0)), error(small, config()), rtol=1e-2, atol=0
    )
    outlier = torch.full((1, 4, 2, 2), 100.0)
    grown = losses.pseudo_huber(2 * outlier, torch.tensor([0.1])) / losses.pseudo_huber(outlier, torch.tensor([0.1]))
    torch.testing.assert_close(grown, torch.full_like(grown, 2.0), rtol=1e-2, atol=0)  # by its size, not by its square


@pytest.mark.parametrize("threshold", [0.1, 1.0])
def test_smooth_l1_is_that_of_torch(threshold: float) -> None:
    theirs = torch.nn.functional.smooth_l1_loss(A, torch.zeros_like(A), beta=threshold, reduction="none").mean(
        (1, 2, 3)
    )
    torch.testing.assert_close(error(A, config(type="smooth_l1", threshold=threshold)), theirs)


def test_thresholds_fall_with_the_noise() -> None:
    share = torch.tensor([0.0, 0.5, 1.0])
    torch.testing.assert_close(losses.exponential_threshold(share, 0.01), torch.tensor([1.0, 0.1, 0.01]))
    found = losses.snr_threshold(ABAR, 0.1)
    written_out = [(1 - 0.1) / (1 + math.sqrt(1 / snr)) ** 2 + 0.1 for snr in SNR]
    torch.testing.assert_close(found, torch.tensor(written_out), rtol=1e-4, atol=1e-6)
    assert found.tolist() == sorted(found.tolist(), reverse=True)


@pytest.mark.parametrize("schedule", ["exponential", "snr"])
def test_a_loss_uses_the_threshold_of_each_example(schedule: str) -> None:
    found = error(A, config(type="huber", threshold=0.1, threshold_schedule=schedule))
    share = torch.tensor([0.0, 0.25, 0.5, 0.75, 0.999])
    deltas = (
        losses.exponential_threshold(share, 0.1) if schedule == "exponential" else losses.snr_threshold(ABAR, 0.1)
    ).tolist()
    for place, delta in enumerate(deltas):
        alone = losses.pseudo_huber(A[place : place + 1], torch.tensor([delta])).mean()
        assert float(found[place]) == pytest.approx(float(alone), rel=1e-5)


GAMMA = 5.0
WEIGHTINGS = [
    # as weights of the error of x0, which is what the papers compare
    ({"min_snr_gamma": GAMMA}, lambda snr: min(snr, GAMMA)),
    ({"soft_min_snr_gamma": GAMMA}, lambda snr: snr * GAMMA / (snr + GAMMA)),
    ({"debiased": True}, lambda snr: math.sqrt(snr)),
]


@pytest.mark.parametrize(("options", "of_x0"), WEIGHTINGS)
def test_a_weighting_is_the_same_for_noise_and_velocity(
    options: dict[str, object], of_x0: Callable[[float], float]
) -> None:
    """A squared error e of x0 is SNR e of the noise and (SNR + 1) e of the velocity: x_t = a x0 + s eps, v = a eps - s x0."""
    for_noise = losses.weight(ABAR, config(**options), "epsilon").tolist()
    for_velocity = losses.weight(ABAR, config(**options), "v_prediction").tolist()
    for snr, noise, velocity in zip(SNR, for_noise, for_velocity, strict=True):
        assert noise == pytest.approx(of_x0(snr) / snr, rel=1e-3)
        assert velocity == pytest.approx(of_x0(snr) / (snr + 1), rel=1e-3)


def test_debiased_weighs_noise_as_its_paper_says() -> None:
    torch.testing.assert_close(
        losses.debiased_weight(ABAR, "epsilon"), torch.tensor([1 / math.sqrt(snr) for snr in SNR]), rtol=1e-3, atol=0
    )


def test_without_a_weighting_all_count_the_same() -> None:
    assert losses.weight(ABAR, config(), "epsilon").tolist() == [1.0] * 5


def test_a_mask_leaves_out_what_is_black_and_does_not_change_the_scale() -> None:
    mask = torch.zeros(5, 1, 2, 2)
    mask[:, :, 0, 0] = 1.0
    mask[:, :, 0, 1] = 0.5
    found = error(A, config(), mask)
    for place in range(5):
        white, grey = A[place, :, 0, 0].square(), A[place, :, 0, 1].square()
        assert float(found[place]) == pytest.approx(float((white.sum() + 0.5 * grey.sum()) / (4 + 2)), rel=1e-5)
    torch.testing.assert_close(error(A, config(), torch.ones(5, 1, 2, 2)), error(A, config()))
    changed = A.clone()
    changed[:, :, 1, :] = 1e6
    torch.testing.assert_close(error(changed, config(), mask), found)
    assert error(A, config(), torch.zeros(5, 1, 2, 2)).tolist() == [0.0] * 5
