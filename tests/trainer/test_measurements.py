"""Measurements: kept on the device, read together, and not one number that is not finite gets through."""

from __future__ import annotations

import math

import pytest
import torch

from trainer.errors import Diverged
from trainer.measurements import ROWS, Measurements

CPU = torch.device("cpu")


def measured(losses: list[float], norm: float = 1.0, prior: float | None = None) -> Measurements:
    measurements = Measurements(CPU, 4, 1000)
    measurements.begin(7, 1e-3)
    names, timesteps = ["a.png", "b.png", "c.png", "d.png"][: len(losses)], [0, 249, 500, 999][: len(losses)]
    measurements.add(torch.tensor(losses[:2]), names[:2], timesteps[:2])
    measurements.add(torch.tensor(losses[2:]), names[2:], timesteps[2:])
    measurements.close(None if prior is None else torch.tensor(prior), torch.tensor(norm))
    return measurements


def test_a_step_of_two_micro_batches() -> None:
    (read,) = measured([1.0, 3.0, 5.0, 7.0], norm=2.0, prior=0.5).read()
    assert (read.step, read.loss, read.prior_loss, read.gradient_norm) == (7, 4.0, 0.5, 2.0)
    assert read.loss_by_band[0] == 2.0
    assert math.isnan(read.loss_by_band[1])
    assert read.loss_by_band[2:] == (5.0, 7.0)
    assert (read.images, read.learning_rate) == (4, 1e-3)
    assert read.images_per_second > 0


def test_a_short_micro_batch_counts_what_it_has() -> None:
    (read,) = measured([1.0, 3.0, 5.0]).read()
    assert (read.loss, read.images, read.prior_loss) == (3.0, 3, None)


def test_reading_empties_the_buffer_and_steps_keep_their_own_numbers() -> None:
    measurements = Measurements(CPU, 1, 1000)
    for step in range(1, ROWS + 1):
        measurements.begin(step, 0.1)
        measurements.add(torch.tensor([float(step)]), ["a.png"], [0])
        measurements.close(None, torch.tensor(0.0))
    assert measurements.unread == ROWS
    assert [read.loss for read in measurements.read()] == [float(step) for step in range(1, ROWS + 1)]
    assert measurements.unread == 0


@pytest.mark.parametrize(
    ("losses", "norm", "said"),
    [
        ([1.0, math.nan, 1.0], 1.0, r"loss of 'b.png' became nan at step 7; lower the learning rate \(it was 0.001\)"),
        ([1.0, 1.0, math.inf], 1.0, r"loss of 'c.png' became inf at step 7"),
        ([1.0, 1.0, 1.0], math.nan, r"gradient became nan at step 7"),
    ],
)
def test_what_is_not_finite_is_named(losses: list[float], norm: float, said: str) -> None:
    with pytest.raises(Diverged, match=said):
        measured(losses, norm).read()
