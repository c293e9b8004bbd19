"""How far a prediction is from its target, and what that weighs. One function an equation, symbols as in the papers.

a     prediction - target                                      (B, C, H, W)
delta where squares go over to absolute values                 (B,)
abar  cumulative product of 1 - beta, of each example's timestep  (B,)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainer.config_fitting import LossConfig
from trainer.noise import snr


def squared(a: Tensor) -> Tensor:
    """a^2 (Ho et al., arXiv 2006.11239, eq. 14), elementwise."""
    return a.square()


def pseudo_huber(a: Tensor, delta: Tensor) -> Tensor:
    """2 delta^2 (sqrt(1 + (a / delta)^2) - 1), elementwise: twice Khrapov et al., arXiv 2403.16728, eq. 6, so that small errors
    count as in `squared`. Written as 2 a^2 / (sqrt(1 + (a / delta)^2) + 1), which loses no digits where a is small."""
    delta = _per_example(delta, a)
    return 2 * a.square() / ((1 + (a / delta).square()).sqrt() + 1)


def smooth_l1(a: Tensor, delta: Tensor) -> Tensor:
    """a^2 / (2 delta) where |a| < delta, else |a| - delta / 2, elementwise (Girshick, arXiv 1504.08083, eq. 3, with delta 1)."""
    delta = _per_example(delta, a)
    return torch.where(a.abs() < delta, a.square() / (2 * delta), a.abs() - delta / 2)


def exponential_threshold(share: Tensor, threshold: float) -> Tensor:
    """delta = exp(log(threshold) · share), for t as its share of all timesteps (Khrapov et al., arXiv 2403.16728, sec. 3)."""
    return torch.exp(math.log(threshold) * share)


def snr_threshold(abar: Tensor, threshold: float) -> Tensor:
    """delta = (1 - threshold) / (1 + sigma)^2 + threshold, sigma^2 = 1 / SNR (kohya's sd-scripts, `huber_schedule snr`)."""
    sigma = ((1 - abar) / abar).sqrt()
    return (1 - threshold) / (1 + sigma).square() + threshold


def mean_over_elements(errors: Tensor, mask: Tensor | None = None) -> Tensor:
    """Elementwise errors (B, C, H, W) to one number an example, (B,).

    With a mask (B, 1, H, W) of 0 to 1 it is the mean weighted by it, so that an example counts the same whatever the share
    of it that is learnt; an example whose mask is empty counts 0.
    """
    if mask is None:
        return errors.flatten(1).mean(1)
    weights = mask.expand_as(errors).flatten(1)
    return (weights * errors.flatten(1)).sum(1) / weights.sum(1).clamp(min=1e-6)


def squared_error(prediction: Tensor, wanted: Tensor) -> Tensor:
    """Mean of ||prediction - wanted||^2 over an example's elements, (B,), in fp32."""
    return mean_over_elements(squared(prediction.float() - wanted.float()))


def error(
    prediction: Tensor, wanted: Tensor, config: LossConfig, abar: Tensor, share: Tensor, mask: Tensor | None = None
) -> Tensor:
    """The error that the spec asks for, (B,), in fp32; `share` is each timestep's share of all, (B,)."""
    a = prediction.float() - wanted.float()
    if config.type == "mse":
        return mean_over_elements(squared(a), mask)
    measure = pseudo_huber if config.type == "huber" else smooth_l1
    return mean_over_elements(measure(a, _threshold(config, abar, share)), mask)


def _threshold(config: LossConfig, abar: Tensor, share: Tensor) -> Tensor:
    if config.threshold_schedule == "exponential":
        return exponential_threshold(share, config.threshold)
    if config.threshold_schedule == "snr":
        return snr_threshold(abar, config.threshold)
    return torch.full_like(abar, config.threshold)


def min_snr_weight(abar: Tensor, gamma: float, prediction_type: str) -> Tensor:
    """min(SNR, gamma) / SNR for noise prediction, min(SNR, gamma) / (SNR + 1) for velocity prediction
    (Hang et al., arXiv 2303.09556, sec. 3.4). `gamma` 0 weighs nothing."""
    if gamma == 0:
        return torch.ones_like(abar)
    ratio = snr(abar)
    if prediction_type == "v_prediction":
        return ratio.clamp(max=gamma) / (ratio + 1)
    return (gamma / ratio).clamp(max=1)  # which is 1 for pure noise, where SNR is 0


def soft_min_snr_weight(abar: Tensor, gamma: float, prediction_type: str) -> Tensor:
    """SNR gamma / (SNR + gamma) for x0 (Crowson et al., arXiv 2401.11605, sec. 3.3); over SNR for noise, SNR + 1 for velocity."""
    ratio = snr(abar)
    if prediction_type == "v_prediction":
        return ratio * gamma / ((ratio + gamma) * (ratio + 1))
    return gamma / (ratio + gamma)


def debiased_weight(abar: Tensor, prediction_type: str) -> Tensor:
    """1 / sqrt(SNR) for noise prediction (Yu et al., arXiv 2310.08442, sec. 4), which is sqrt(SNR) for x0; so it is
    sqrt(SNR) / (SNR + 1) for velocity."""
    root = snr(abar).sqrt()
    return root / (root.square() + 1) if prediction_type == "v_prediction" else 1 / root


def weight(abar: Tensor, config: LossConfig, prediction_type: str) -> Tensor:
    """What an example's error counts at its timestep, (B,)."""
    if config.soft_min_snr_gamma:
        return soft_min_snr_weight(abar, config.soft_min_snr_gamma, prediction_type)
    if config.debiased:
        return debiased_weight(abar, prediction_type)
    return min_snr_weight(abar, config.min_snr_gamma, prediction_type)


def _per_example(value: Tensor, like: Tensor) -> Tensor:
    return value.view(-1, *[1] * (like.dim() - 1)).to(like.dtype)
