"""How the weights are fitted, read from a resolved spec."""

from __future__ import annotations

from loramill import v1
from trainer.config_fitting import (
    LossConfig,
    LossName,
    NoiseConfig,
    OptimizationConfig,
    OptimizerName,
    PrecisionName,
    ScheduleName,
    ThresholdScheduleName,
    TimestepSamplingName,
    ValidationConfig,
)
from trainer.spec_reader import Reader

PRECISIONS: dict[int, PrecisionName] = {
    v1.PRECISION_FP32: "fp32",
    v1.PRECISION_BF16: "bf16",
    v1.PRECISION_FP16: "fp16",
}
_OPTIMIZERS: dict[int, OptimizerName] = {
    v1.OPTIMIZER_UNSPECIFIED: "adamw",
    v1.OPTIMIZER_ADAMW: "adamw",
    v1.OPTIMIZER_ADAMW_8BIT: "adamw_8bit",
    v1.OPTIMIZER_ADAFACTOR: "adafactor",
    v1.OPTIMIZER_LION: "lion",
    v1.OPTIMIZER_PRODIGY: "prodigy",
    v1.OPTIMIZER_SCHEDULE_FREE_ADAMW: "schedule_free_adamw",
    v1.OPTIMIZER_PRECONDITIONED_ADAMW: "preconditioned_adamw",
}
_SCHEDULES: dict[int, ScheduleName] = {
    v1.SCHEDULE_CONSTANT: "constant",
    v1.SCHEDULE_LINEAR: "linear",
    v1.SCHEDULE_COSINE: "cosine",
    v1.SCHEDULE_COSINE_WITH_RESTARTS: "cosine_with_restarts",
    v1.SCHEDULE_POLYNOMIAL: "polynomial",
    v1.SCHEDULE_REX: "rex",
}
_LOSSES: dict[int, LossName] = {
    v1.LOSS_TYPE_UNSPECIFIED: "mse",
    v1.LOSS_TYPE_MSE: "mse",
    v1.LOSS_TYPE_HUBER: "huber",
    v1.LOSS_TYPE_SMOOTH_L1: "smooth_l1",
}
_THRESHOLDS: dict[int, ThresholdScheduleName] = {
    v1.THRESHOLD_SCHEDULE_UNSPECIFIED: "constant",
    v1.THRESHOLD_SCHEDULE_CONSTANT: "constant",
    v1.THRESHOLD_SCHEDULE_EXPONENTIAL: "exponential",
    v1.THRESHOLD_SCHEDULE_SNR: "snr",
}
_SAMPLINGS: dict[int, TimestepSamplingName] = {
    v1.TIMESTEP_SAMPLING_UNSPECIFIED: "uniform",
    v1.TIMESTEP_SAMPLING_UNIFORM: "uniform",
    v1.TIMESTEP_SAMPLING_LOGIT_NORMAL: "logit_normal",
}


def optimization(spec: v1.TrainingSpec, read: Reader) -> OptimizationConfig:
    given = spec.optimization
    if given.WhichOneof("length") is None:
        read.problems.append("The assignment's spec has neither optimization.steps nor optimization.epochs; set one.")
    return OptimizationConfig(
        steps=given.steps if given.HasField("steps") else None,
        epochs=given.epochs if given.HasField("epochs") else None,
        batch_size=read.whole(given, "optimization.batch_size"),
        gradient_accumulation=given.gradient_accumulation if given.HasField("gradient_accumulation") else 1,
        optimizer=read.choice(given.optimizer, "optimization.optimizer", _OPTIMIZERS),
        weight_decay=read.number(given, "optimization.weight_decay"),
        beta1=read.number(given, "optimization.beta1"),
        beta2=read.number(given, "optimization.beta2"),
        schedule=read.choice(given.schedule, "optimization.schedule", _SCHEDULES),
        schedule_cycles=given.schedule_cycles if given.HasField("schedule_cycles") else 2,
        schedule_power=given.schedule_power if given.HasField("schedule_power") else 2.0,
        warmup_steps=given.warmup_steps if given.HasField("warmup_steps") else None,
        max_gradient_norm=read.number(given, "optimization.max_gradient_norm"),
        ema_decay=given.ema_decay,
        gradient_checkpointing=given.gradient_checkpointing,
        precision=PRECISIONS.get(given.precision),
        seed=read.whole(given, "optimization.seed"),
    )


def loss(spec: v1.LossSpec, read: Reader) -> LossConfig:
    return LossConfig(
        type=read.choice(spec.type, "loss.type", _LOSSES),
        threshold=spec.threshold if spec.HasField("threshold") else 0.1,
        threshold_schedule=read.choice(spec.threshold_schedule, "loss.threshold_schedule", _THRESHOLDS),
        min_snr_gamma=spec.min_snr_gamma,
        soft_min_snr_gamma=spec.soft_min_snr_gamma,
        debiased=spec.debiased,
    )


def noise(spec: v1.NoiseSpec, read: Reader) -> NoiseConfig:
    return NoiseConfig(
        offset=spec.offset,
        input_perturbation=spec.input_perturbation,
        pyramid_levels=spec.pyramid_levels,
        pyramid_discount=spec.pyramid_discount if spec.HasField("pyramid_discount") else 0.3,
        timestep_sampling=read.choice(spec.timestep_sampling, "noise.timestep_sampling", _SAMPLINGS),
        logit_mean=spec.logit_mean,
        logit_deviation=spec.logit_deviation if spec.HasField("logit_deviation") else 1.0,
        min_timestep=spec.min_timestep,
        max_timestep=spec.max_timestep if spec.HasField("max_timestep") else 1000,
    )


def validation(spec: v1.ValidationSpec) -> ValidationConfig | None:
    """None where nothing is held out."""
    if not spec.share and not spec.subset:
        return None
    return ValidationConfig(
        share=spec.share,
        subset=spec.subset,
        every_steps=spec.every_steps if spec.HasField("every_steps") else None,
        timesteps=spec.timesteps if spec.HasField("timesteps") else 4,
        keep_best=spec.keep_best,
        patience=spec.patience,
    )
