"""How the weights are fitted: losses, noise, optimizer, validation. Frozen plain data, part of `TrainConfig`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OptimizerName = Literal[
    "adamw", "adamw_8bit", "adafactor", "lion", "prodigy", "schedule_free_adamw", "preconditioned_adamw"
]
ScheduleName = Literal["constant", "linear", "cosine", "cosine_with_restarts", "polynomial", "rex"]
PrecisionName = Literal["fp32", "bf16", "fp16"]
LossName = Literal["mse", "huber", "smooth_l1"]
ThresholdScheduleName = Literal["constant", "exponential", "snr"]
TimestepSamplingName = Literal["uniform", "logit_normal"]


@dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    """How the weights are fitted. Exactly one of `steps` and `epochs` is set."""

    steps: int | None
    epochs: int | None
    batch_size: int
    gradient_accumulation: int
    optimizer: OptimizerName
    weight_decay: float
    beta1: float
    beta2: float
    schedule: ScheduleName
    schedule_cycles: int
    """Cosines in a row."""
    schedule_power: float
    """Of the polynomial."""
    warmup_steps: int | None
    """None: a twentieth of the steps, at most 100."""
    max_gradient_norm: float
    """0: no clipping."""
    ema_decay: float
    """0: no moving average."""
    gradient_checkpointing: bool
    precision: PrecisionName | None
    """None: fp32 on a CPU, bf16 on a GPU."""
    seed: int


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """How the error of a prediction is measured and weighed. At most one of the weightings is used."""

    type: LossName
    threshold: float
    """Where Huber and smooth L1 go over from the square to the absolute value."""
    threshold_schedule: ThresholdScheduleName
    min_snr_gamma: float
    """0: no such weighting."""
    soft_min_snr_gamma: float
    """0: no such weighting."""
    debiased: bool


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """The noise that pictures are trained with, and how much of it."""

    offset: float
    input_perturbation: float
    pyramid_levels: int
    pyramid_discount: float
    timestep_sampling: TimestepSamplingName
    logit_mean: float
    logit_deviation: float
    min_timestep: int
    max_timestep: int
    """Excluded."""


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Examples that are not trained on, and what follows from their error. Either a share or a subset is held out."""

    share: float
    subset: str
    """Its path prefix; empty for none."""
    every_steps: int | None
    """None: a twentieth of the steps, at least 10."""
    timesteps: int
    """At which each example is measured."""
    keep_best: bool
    patience: int
    """Measurements without a new best after which training ends; 0 for never."""
