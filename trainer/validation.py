"""Validation: the error on examples that are not trained on, and what follows from it.

Unweighted, at noise and timesteps that are the same each time and spread evenly, so that two measurements differ by the adapter
alone (the variance of a loss at random timesteps hides what is learnt).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from trainer.config_fitting import ValidationConfig
from trainer.draws import generator
from trainer.embeddings import Words
from trainer.families.base import Base, Framing
from trainer.losses import squared_error
from trainer.noise import add_noise, target
from trainer.previews import not_training


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """An example that is not trained on."""

    id: str
    latents: Tensor
    """(C, h, w), scaled, on the CPU: the mean of the posterior."""
    caption: str
    framing: Framing


def held_out_ids(ids: Sequence[str], share: float, seed: int) -> set[str]:
    """The share of the examples that is held out, at least one: drawn for each by its id, so that order has no part in it."""
    count = max(1, round(share * len(ids)))
    return set(sorted(ids, key=lambda one: (generator(seed, "held out", one).random(), one))[:count])


def default_distance(steps: int) -> int:
    """Steps between measurements: a twentieth of all, at least 10."""
    return max(10, steps // 20)


@torch.no_grad()
def validation_loss(
    base: Base, words: Words, examples: Sequence[HeldOut], *, timesteps: int, seed: int, batch_size: int
) -> float:
    """The mean squared error over every example at `timesteps` timesteps, one in each of as many equal parts."""
    uses = [(example, part) for example in examples for part in range(timesteps)]
    # Only latents of one shape go together.
    uses.sort(key=lambda use: tuple(use[0].latents.shape))
    total, start = torch.zeros((), device=base.device), 0
    while start < len(uses):
        shape = uses[start][0].latents.shape
        batch = [use for use in uses[start : start + batch_size] if use[0].latents.shape == shape]
        total += _errors(base, words, batch, timesteps, seed).sum()
        start += len(batch)
    return float(total) / len(uses)


def _errors(base: Base, words: Words, uses: Sequence[tuple[HeldOut, int]], parts: int, seed: int) -> Tensor:
    steps = len(base.alphas_cumprod)
    drawn, moments = [], []
    for example, part in uses:
        low, high = part * steps // parts, (part + 1) * steps // parts
        moments.append(int(generator(seed, "validation timestep", example.id, part).integers(low, max(high, low + 1))))
        noise = generator(seed, "validation noise", example.id, part)
        drawn.append(noise.standard_normal(tuple(example.latents.shape), dtype=np.float32))
    x0 = torch.stack([example.latents for example, _ in uses]).to(base.device)
    eps, t = torch.from_numpy(np.stack(drawn)).to(base.device), torch.tensor(moments, device=base.device)
    abar = base.alphas_cumprod[t]
    told = base.framed(words.of([example.caption for example, _ in uses]), [example.framing for example, _ in uses])
    prediction = base.predict(add_noise(x0, eps, abar), t, told)
    return squared_error(prediction, target(base.prediction_type, x0, eps, abar))


@dataclass
class Validation:
    """The measurements of a job so far, as far as decisions follow from them."""

    config: ValidationConfig
    examples: Sequence[HeldOut]
    every: int
    """Steps between measurements."""
    seed: int
    batch_size: int
    best_loss: float = math.inf
    best_step: int = 0
    best_values: Tensor | None = field(default=None, repr=False)
    """(N,), in host memory; None before the first measurement, and where they are not to be kept."""
    without_best: int = 0
    """Measurements since the best."""
    newest_step: int = 0

    def due(self, step: int, steps: int) -> bool:
        return step % self.every == 0 or step == steps

    def measure(self, base: Base, words: Words) -> float:
        with not_training(base):
            return validation_loss(
                base,
                words,
                self.examples,
                timesteps=self.config.timesteps,
                seed=self.seed,
                batch_size=self.batch_size,
            )

    def note(self, step: int, loss: float, values: Tensor) -> None:
        """A measurement after `step`, of these values (N,)."""
        self.newest_step = step
        if loss < self.best_loss:
            self.best_loss, self.best_step, self.without_best = loss, step, 0
            if self.config.keep_best:
                self.best_values = values.detach().cpu().clone()
        else:
            self.without_best += 1

    @property
    def ended_at(self) -> int | None:
        """The step at which training ends early; None while it does not."""
        patience = self.config.patience
        return self.newest_step if patience and self.without_best >= patience else None

    def state(self) -> dict[str, Tensor]:
        numbers = [self.best_loss, self.best_step, self.without_best, self.newest_step]
        found = {"numbers": torch.tensor(numbers, dtype=torch.float64)}
        return found if self.best_values is None else {**found, "best_values": self.best_values.clone()}

    def restore(self, state: Mapping[str, Tensor], step: int) -> None:  # noqa: ARG002 (as optimizers have it)
        """An empty state is that of the beginning."""
        loss, *counts = state["numbers"].tolist() if state else (math.inf, 0, 0, 0)
        self.best_loss, (self.best_step, self.without_best, self.newest_step) = loss, map(int, counts)
        self.best_values = state["best_values"].clone() if "best_values" in state else None
