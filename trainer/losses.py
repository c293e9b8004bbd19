"""How far a prediction is from its target. Each function gives one number an example, (B,)."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.noise import snr


def squared_error(prediction: Tensor, wanted: Tensor) -> Tensor:
    """Mean of ||prediction - wanted||^2 over an example's elements (Ho et al., arXiv 2006.11239, eq. 14), in fp32."""
    return (prediction.float() - wanted.float()).square().flatten(1).mean(1)


def min_snr_weight(abar: Tensor, gamma: float, prediction_type: str) -> Tensor:
    """min(SNR, gamma) / SNR for noise prediction, min(SNR, gamma) / (SNR + 1) for velocity prediction
    (Hang et al., arXiv 2303.09556, sec. 3.4). `gamma` 0 weighs nothing."""
    if gamma == 0:
        return torch.ones_like(abar)
    ratio = snr(abar)
    return ratio.clamp(max=gamma) / (ratio + (1 if prediction_type == "v_prediction" else 0))
