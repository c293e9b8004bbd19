"""The noise and the timestep of one use of an example, drawn by their keys.

Each kind of draw has a purpose of its own, so that an option that is not used changes no other's numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.config_fitting import NoiseConfig
from trainer.draws import generator
from trainer.noise import logit_normal, offset_noise, perturbed_noise, pyramid_noise

Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Drawn:
    """Of one use of an example, on the host; noise is (C, h, w), fp32."""

    eps: Tensor
    """What the network is to predict."""
    seen: Tensor
    """What is added to its input: the same, unless inputs are perturbed."""
    timestep: int


def draw(config: NoiseConfig, seed: int, key: Key, shape: Sequence[int], timesteps: int) -> Drawn:
    """Noise of `shape` (C, h, w), and one of the base's `timesteps`."""
    eps = _normal(seed, "noise", key, shape)
    if config.pyramid_levels:
        levels = [level.unsqueeze(0) for level in _levels(config.pyramid_levels, seed, key, shape)]
        eps = pyramid_noise(eps.unsqueeze(0), levels, config.pyramid_discount).squeeze(0)
    if config.offset:
        eps = offset_noise(eps, config.offset, _normal(seed, "noise offset", key, (shape[0], 1, 1)))
    seen = eps
    if config.input_perturbation:
        seen = perturbed_noise(eps, config.input_perturbation, _normal(seed, "input perturbation", key, shape))
    return Drawn(eps, seen, draw_timestep(config, seed, key, timesteps))


def draw_timestep(config: NoiseConfig, seed: int, key: Key, timesteps: int) -> int:
    """From `min_timestep` to below `max_timestep`, as far as the base has them."""
    draws = generator(seed, "timestep", *key)
    low, high = config.min_timestep, min(config.max_timestep, timesteps)
    if config.timestep_sampling == "uniform":
        return int(draws.integers(low, high))
    share = logit_normal(draws.standard_normal(), config.logit_mean, config.logit_deviation)
    return min(high - 1, low + int(share * (high - low)))


def _normal(seed: int, purpose: str, key: Key, shape: Sequence[int]) -> Tensor:
    drawn: np.ndarray = generator(seed, purpose, *key).standard_normal(tuple(shape), dtype=np.float32)
    return torch.from_numpy(drawn)


def _levels(count: int, seed: int, key: Key, shape: Sequence[int]) -> list[Tensor]:
    """Each level's sides are a half to a quarter of those of the level before; the last has a side of 1, if not before."""
    channels, height, width = shape
    levels: list[Tensor] = []
    for level in range(count):
        draws = generator(seed, "pyramid noise", *key, level)
        ratio = 2 + 2 * draws.random()
        height, width = max(1, int(height / ratio)), max(1, int(width / ratio))
        levels.append(torch.from_numpy(draws.standard_normal((channels, height, width), dtype=np.float32)))
        if min(height, width) == 1:
            break
    return levels
