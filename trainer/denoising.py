"""How well the frozen base predicts the noise in a picture under one text or another.

The error says how probable the picture is under the text (Li et al., "Your Diffusion Model is Secretly a Zero-Shot Classifier",
arXiv 2303.16203, eq. 6). Every text is measured at the same pairs (t, ε), so that differences between texts are far less noisy
than the errors themselves (Clark & Jaini, NeurIPS 2023).

Shapes: P pairs; latents (C, h, w), scaled, as the UNet takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.draws import generator
from trainer.families.base import Base, Conditioning, Framing
from trainer.losses import squared_error
from trainer.noise import add_noise, target

Said = Callable[[Sequence[str]], Conditioning]
"""What the base's text encoders make of texts."""


@dataclass(frozen=True)
class Pairs:
    """Timesteps with noises: stratified over t, each timestep once with a noise and once with its opposite (antithetic), whose
    errors of first order cancel."""

    timesteps: Tensor
    """(P,), the first half in rising order, the second half the same again."""
    noises: Tensor
    """(P, C, h, w); the second half is the first with the other sign."""

    def __len__(self) -> int:
        return len(self.timesteps)


def timesteps(total: int, count: int) -> tuple[int, ...]:
    """The middles of `count` equal parts of the timesteps 0 to `total` - 1."""
    return tuple((2 * part + 1) * total // (2 * count) for part in range(count))


def pairs(count: int, base: Base, shape: Sequence[int], purpose: str, *key: str | int) -> Pairs:
    """`count` pairs, an even number, for latents of this shape; the noises are drawn for `purpose` and `key`."""
    halves = count // 2
    eps = torch.from_numpy(generator(0, purpose, *key).standard_normal((halves, *shape), dtype=np.float32))
    times = torch.tensor(timesteps(len(base.alphas_cumprod), halves))
    return Pairs(times.repeat(2), torch.cat([eps, -eps]))


@torch.no_grad()
def errors(
    base: Base, said: Said, latents: Tensor, framing: Framing, text: str, measured: Pairs, at_once: int
) -> Tensor:
    """Mean squared error of the base's prediction at each pair (P,), fp32, on the CPU; `at_once` pairs go through together."""
    found = []
    for start in range(0, len(measured), at_once):
        t = measured.timesteps[start : start + at_once].to(base.device)
        noise = measured.noises[start : start + at_once].to(base.device)
        x0 = latents.to(base.device).expand_as(noise)
        abar = base.alphas_cumprod[t]
        told = base.framed(said([text] * len(t)), [framing] * len(t))
        prediction = base.predict(add_noise(x0, noise, abar), t, told)
        found.append(squared_error(prediction, target(base.prediction_type, x0, noise, abar)).cpu())
    return torch.cat(found)
