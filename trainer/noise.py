"""Diffusion's equations, one function each. Symbols as in the papers.

x0  clean latents            (B, C, H, W)
eps noise                    (B, C, H, W)
abar  cumulative product of 1 - beta, of each example's timestep  (B,)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

BETA_SCHEDULES = ("linear", "scaled_linear")
PREDICTION_TYPES = ("epsilon", "v_prediction")


def alphas_cumprod(
    beta_schedule: str, beta_start: float, beta_end: float, timesteps: int, *, zero_terminal_snr: bool = False
) -> Tensor:
    """abar of every timestep (T,), for `linear` (Ho et al., arXiv 2006.11239, sec. 4) and Stable Diffusion's
    `scaled_linear` (Rombach et al., arXiv 2112.10752: linear in the root of beta).

    With `zero_terminal_snr` it is rescaled to end in pure noise (Lin et al., arXiv 2305.08891, algorithm 1)."""
    if beta_schedule == "linear":
        betas = torch.linspace(beta_start, beta_end, timesteps, dtype=torch.float32)
    elif beta_schedule == "scaled_linear":
        betas = torch.linspace(beta_start**0.5, beta_end**0.5, timesteps, dtype=torch.float32) ** 2
    else:
        raise ValueError(f"beta schedule {beta_schedule!r} must be linear or scaled_linear")
    abar = torch.cumprod(1 - betas, dim=0)
    if not zero_terminal_snr:
        return abar
    root = abar.sqrt()
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])).square()


def _per_example(abar: Tensor, like: Tensor) -> Tensor:
    return abar.view(-1, *[1] * (like.dim() - 1)).to(like.dtype)


def add_noise(x0: Tensor, eps: Tensor, abar: Tensor) -> Tensor:
    """x_t = sqrt(abar) x0 + sqrt(1 - abar) eps (Ho et al., arXiv 2006.11239, eq. 4)."""
    a = _per_example(abar, x0)
    return a.sqrt() * x0 + (1 - a).sqrt() * eps


def velocity(x0: Tensor, eps: Tensor, abar: Tensor) -> Tensor:
    """v = sqrt(abar) eps - sqrt(1 - abar) x0 (Salimans & Ho, arXiv 2202.00512, sec. 4)."""
    a = _per_example(abar, x0)
    return a.sqrt() * eps - (1 - a).sqrt() * x0


def target(prediction_type: str, x0: Tensor, eps: Tensor, abar: Tensor) -> Tensor:
    """What the network is to predict: the noise, or the velocity."""
    if prediction_type == "epsilon":
        return eps
    if prediction_type == "v_prediction":
        return velocity(x0, eps, abar)
    raise ValueError(f"prediction type {prediction_type!r} must be epsilon or v_prediction")


def snr(abar: Tensor) -> Tensor:
    """abar / (1 - abar) (Kingma et al., arXiv 2107.00630, eq. 2)."""
    return abar / (1 - abar)


def offset_noise(eps: Tensor, offset: float, xi: Tensor) -> Tensor:
    """eps + offset · xi, with one standard normal number xi (B, C, 1, 1) a channel (Guttenberg, "Diffusion with Offset Noise",
    2023)."""
    return eps + offset * xi


def pyramid_noise(eps: Tensor, levels: Sequence[Tensor], discount: float) -> Tensor:
    """eps + sum over i of discount^i · upsample(levels[i - 1]), scaled to a deviation of 1 an example (Whitaker,
    "Multi-Resolution Noise for Diffusion Model Training", 2023). Levels are (B, C, h, w), coarser and coarser."""
    size = eps.shape[-2:]
    for place, level in enumerate(levels, start=1):
        eps = eps + discount**place * torch.nn.functional.interpolate(level, size, mode="bilinear")
    return eps / eps.flatten(1).std(1).view(-1, 1, 1, 1)


def perturbed_noise(eps: Tensor, gamma: float, xi: Tensor) -> Tensor:
    """eps + gamma · xi: what is added to the input while eps stays the target (Ning et al., arXiv 2301.11706, algorithm 1)."""
    return eps + gamma * xi


def logit_normal(u: float, mean: float, deviation: float) -> float:
    """sigmoid(mean + deviation · u) for a standard normal u: a share in (0, 1) (Esser et al., arXiv 2403.03206, eq. 19)."""
    return 1 / (1 + math.exp(-(mean + deviation * u)))
