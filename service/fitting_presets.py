"""What a spec leaves open of optimizer, loss, noise and validation, filled in; a table has what optimizers decide. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loramill import v1
from service.defaults import choose, default


@dataclass(frozen=True)
class OptimizerPreset:
    """One row of the table."""

    own_rate: float | None
    """Its rate, where it does not follow from AdamW's."""
    rate_per_rate: float
    """Its rate as a multiple of AdamW's."""
    beta1: float
    beta2: float
    weight_decay: float
    schedule: v1.Schedule.ValueType
    source: str

    def rate(self, of_adamw: float) -> float:
        return self.own_rate if self.own_rate is not None else of_adamw * self.rate_per_rate


_Row = OptimizerPreset
_COSINE, _CONSTANT = v1.SCHEDULE_COSINE, v1.SCHEDULE_CONSTANT

# fmt: off
OPTIMIZERS: Mapping[v1.Optimizer.ValueType, OptimizerPreset] = {
    #                                          own    x AdamW's  beta1 beta2  decay  schedule   source
    v1.OPTIMIZER_ADAMW:                _Row(None,  1.0,       0.9,   0.999,  0.01,  _COSINE,   ""),
    v1.OPTIMIZER_ADAMW_8BIT:           _Row(None,  1.0,       0.9,   0.999,  0.01,  _COSINE,   "arXiv 2110.02861: as AdamW"),
    v1.OPTIMIZER_ADAFACTOR:            _Row(1e-2,  1.0,       0.9,   0.999,  0.0,   _COSINE,   "arXiv 1804.04235, alg. 5"),
    v1.OPTIMIZER_LION:                 _Row(None,  0.2,       0.9,   0.99,   0.05,  _COSINE,   "arXiv 2302.06675, sec. 5"),
    v1.OPTIMIZER_PRODIGY:              _Row(1.0,   1.0,       0.9,   0.999,  0.01,  _COSINE,   "arXiv 2306.06101, sec. 5"),
    v1.OPTIMIZER_SCHEDULE_FREE_ADAMW:  _Row(None,  2.0,       0.9,   0.999,  0.01,  _CONSTANT, "schedulefree: 1 to 10 times"),
    v1.OPTIMIZER_PRECONDITIONED_ADAMW: _Row(None,  1.0,       0.9,   0.999,  0.01,  _COSINE,   "as AdamW"),
}
# fmt: on


def resolve_optimization(
    optimization: v1.OptimizationSpec, preset: OptimizerPreset, steps: int, batch_size: int, seed: int
) -> None:
    if optimization.WhichOneof("length") is None:
        optimization.steps = steps
    if optimization.HasField("steps"):
        default(optimization, "warmup_steps", min(100, optimization.steps // 20))
    default(optimization, "batch_size", batch_size)
    default(optimization, "gradient_accumulation", 1)
    default(optimization, "weight_decay", preset.weight_decay)
    if optimization.optimizer != v1.OPTIMIZER_ADAFACTOR:
        default(optimization, "beta1", preset.beta1)
        default(optimization, "beta2", preset.beta2)
    choose(optimization, "schedule", preset.schedule)
    if optimization.schedule == v1.SCHEDULE_COSINE_WITH_RESTARTS:
        default(optimization, "schedule_cycles", 2)
    if optimization.schedule == v1.SCHEDULE_POLYNOMIAL:
        default(optimization, "schedule_power", 2.0)
    default(optimization, "max_gradient_norm", 1.0)
    default(optimization, "ema_decay", 0.0)
    default(optimization, "gradient_checkpointing", False)
    default(optimization, "seed", seed)


def resolve_loss(loss: v1.LossSpec, min_snr_gamma: float) -> None:
    """The preset's weighting gives way to another that is asked for."""
    choose(loss, "type", v1.LOSS_TYPE_MSE)
    default(loss, "soft_min_snr_gamma", 0.0)
    default(loss, "debiased", False)
    default(loss, "min_snr_gamma", 0.0 if loss.soft_min_snr_gamma or loss.debiased else min_snr_gamma)
    if loss.type != v1.LOSS_TYPE_MSE:
        default(loss, "threshold", 0.1)
        huber = loss.type == v1.LOSS_TYPE_HUBER
        choose(loss, "threshold_schedule", v1.THRESHOLD_SCHEDULE_SNR if huber else v1.THRESHOLD_SCHEDULE_CONSTANT)


def resolve_noise(noise: v1.NoiseSpec, offset: float) -> None:
    default(noise, "offset", offset)
    default(noise, "input_perturbation", 0.0)
    default(noise, "pyramid_levels", 0)
    if noise.pyramid_levels:
        default(noise, "pyramid_discount", 0.3)
    choose(noise, "timestep_sampling", v1.TIMESTEP_SAMPLING_UNIFORM)
    if noise.timestep_sampling == v1.TIMESTEP_SAMPLING_LOGIT_NORMAL:
        default(noise, "logit_mean", 0.0)
        default(noise, "logit_deviation", 1.0)
    default(noise, "min_timestep", 0)
    default(noise, "max_timestep", 1000)


def resolve_validation(validation: v1.ValidationSpec, optimization: v1.OptimizationSpec) -> None:
    """`optimization` is resolved."""
    if not validation.subset:
        default(validation, "share", 0.0)
        if not validation.share:
            return
    if optimization.HasField("steps"):
        default(validation, "every_steps", max(10, optimization.steps // 20))
    default(validation, "timesteps", 4)
    default(validation, "keep_best", False)
    default(validation, "patience", 0)
