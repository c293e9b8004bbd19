"""Options of the fitting that contradict each other: one table of rules, all of them judged at once. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from loramill import v1
from service import compute_choice
from service.adapter_presets import type_of
from service.compute_classes import LOCAL_MODE, ComputeClasses
from service.errors import Violation
from service.preset_table import LOCON, LORA


@dataclass(frozen=True)
class Asked:
    """A spec as it was sent, and what it is for."""

    spec: v1.TrainingSpec
    adapter_type: v1.AdapterType.ValueType
    gpus: int | None
    """Of the class that it would run on; None where that is not known."""

    @property
    def optimization(self) -> v1.OptimizationSpec:
        return self.spec.optimization

    @property
    def holds_out(self) -> bool:
        return bool(self.spec.validation.share or self.spec.validation.subset)

    @property
    def weightings(self) -> int:
        loss = self.spec.loss
        return sum((loss.min_snr_gamma > 0, loss.soft_min_snr_gamma > 0, loss.debiased))

    def optimizer(self, *names: v1.Optimizer.ValueType) -> bool:
        return self.optimization.optimizer in names


@dataclass(frozen=True)
class Rule:
    """What two options must not be together."""

    field: str
    """The one that is named."""
    broken: Callable[[Asked], bool]
    sentence: str
    """Follows the field's name: what is the case, and the remedy."""


def _given(message: object, field: str) -> bool:
    return bool(message.HasField(field))  # type: ignore[attr-defined]


def _prodigys_rate_is_far_from_1(target: str, asked: Asked) -> bool:
    network: v1.TargetSpec = getattr(asked.spec, target)
    return asked.optimizer(_PRODIGY) and network.HasField("learning_rate") and network.learning_rate < 0.1


def _wants_without_validation(field: str, asked: Asked) -> bool:
    return bool(getattr(asked.spec.validation, field)) and not asked.holds_out


def _says_without_validation(field: str, asked: Asked) -> bool:
    return _given(asked.spec.validation, field) and not asked.holds_out


def _holds_out_an_unknown_subset(asked: Asked) -> bool:
    wanted = asked.spec.validation.subset
    return bool(wanted) and wanted not in {subset.path_prefix for subset in asked.spec.dataset.subsets}


def _holds_out_everything(asked: Asked) -> bool:
    wanted = asked.spec.validation.subset
    trained = {subset.path_prefix for subset in asked.spec.dataset.subsets if not subset.class_images}
    return bool(wanted) and trained == {wanted}


def _holds_out_class_images(asked: Asked) -> bool:
    wanted = asked.spec.validation.subset
    return any(subset.class_images and subset.path_prefix == wanted for subset in asked.spec.dataset.subsets if wanted)


_PRODIGY, _SCHEDULE_FREE = v1.OPTIMIZER_PRODIGY, v1.OPTIMIZER_SCHEDULE_FREE_ADAMW
_ROBUST = (v1.LOSS_TYPE_HUBER, v1.LOSS_TYPE_SMOOTH_L1)

RULES: tuple[Rule, ...] = (
    # Weightings
    Rule(
        "loss.soft_min_snr_gamma",
        lambda asked: asked.spec.loss.soft_min_snr_gamma > 0 and asked.weightings > 1,
        "is set beside another weighting, but errors are weighed in one way; keep one of min_snr_gamma, soft_min_snr_gamma "
        "and debiased.",
    ),
    Rule(
        "loss.debiased",
        lambda asked: asked.spec.loss.debiased and asked.weightings > 1,
        "is set beside another weighting, but errors are weighed in one way; keep one of min_snr_gamma, soft_min_snr_gamma "
        "and debiased.",
    ),
    Rule(
        "loss.threshold",
        lambda asked: _given(asked.spec.loss, "threshold") and asked.spec.loss.type not in _ROBUST,
        "is set, but only HUBER and SMOOTH_L1 have one; leave it out, or set loss.type.",
    ),
    Rule(
        "loss.threshold_schedule",
        lambda asked: bool(asked.spec.loss.threshold_schedule) and asked.spec.loss.type not in _ROBUST,
        "is set, but only HUBER and SMOOTH_L1 have a threshold; leave it out, or set loss.type.",
    ),
    # Noise
    Rule(
        "noise.pyramid_discount",
        lambda asked: _given(asked.spec.noise, "pyramid_discount") and not asked.spec.noise.pyramid_levels,
        "is set without pyramid_levels, so that there is nothing to discount; set pyramid_levels, such as 6, or leave it out.",
    ),
    Rule(
        "noise.logit_mean",
        lambda asked: _given(asked.spec.noise, "logit_mean") and not _is_logit_normal(asked),
        "is set, but timesteps are not drawn LOGIT_NORMAL; set noise.timestep_sampling, or leave it out.",
    ),
    Rule(
        "noise.logit_deviation",
        lambda asked: _given(asked.spec.noise, "logit_deviation") and not _is_logit_normal(asked),
        "is set, but timesteps are not drawn LOGIT_NORMAL; set noise.timestep_sampling, or leave it out.",
    ),
    Rule(
        "noise.max_timestep",
        lambda asked: (
            _given(asked.spec.noise, "max_timestep")
            and 1 <= asked.spec.noise.max_timestep <= asked.spec.noise.min_timestep
        ),
        "is not above noise.min_timestep, so that no timestep is left to train at; raise it, or lower min_timestep.",
    ),
    # Optimizers
    Rule(
        "optimization.ema_decay",
        lambda asked: asked.optimization.ema_decay > 0 and asked.optimizer(_SCHEDULE_FREE),
        "is set, but SCHEDULE_FREE_ADAMW saves an average of its own; leave it out, or choose another optimizer.",
    ),
    Rule(
        "optimization.schedule",
        lambda asked: (
            asked.optimizer(_SCHEDULE_FREE)
            and asked.optimization.schedule not in (v1.SCHEDULE_UNSPECIFIED, v1.SCHEDULE_CONSTANT)
        ),
        "is set, but SCHEDULE_FREE_ADAMW takes the place of a schedule; leave it out, or choose CONSTANT.",
    ),
    Rule(
        "optimization.beta1",
        lambda asked: (
            asked.optimizer(_SCHEDULE_FREE) and _given(asked.optimization, "beta1") and asked.optimization.beta1 == 0
        ),
        "is 0, but SCHEDULE_FREE_ADAMW divides by it; leave it out, or set it to about 0.9.",
    ),
    Rule(
        "optimization.beta1",
        lambda asked: asked.optimizer(v1.OPTIMIZER_ADAFACTOR) and _given(asked.optimization, "beta1"),
        "is set, but ADAFACTOR keeps no first moment; leave it out.",
    ),
    Rule(
        "optimization.beta2",
        lambda asked: asked.optimizer(v1.OPTIMIZER_ADAFACTOR) and _given(asked.optimization, "beta2"),
        "is set, but ADAFACTOR's decay follows from the step; leave it out.",
    ),
    *(
        Rule(
            f"{target}.learning_rate",
            partial(_prodigys_rate_is_far_from_1, target),
            "is far below 1, but PRODIGY finds the rate itself and multiplies it by this; leave it out, or set 0.1 to 1.",
        )
        for target in ("unet", "text_encoder", "text_encoder_2")
    ),
    Rule(
        "adapter.lora_plus_ratio",
        lambda asked: asked.optimizer(_PRODIGY) and asked.spec.adapter.lora_plus_ratio > 1,
        "is set, but PRODIGY finds a rate for each part itself; leave it out, or choose ADAMW.",
    ),
    Rule(
        "optimization.optimizer",
        lambda asked: (
            asked.optimizer(v1.OPTIMIZER_PRECONDITIONED_ADAMW)
            and (asked.adapter_type not in (LORA, LOCON) or asked.spec.adapter.tucker)
        ),
        "is PRECONDITIONED_ADAMW, which needs pairs of a down and an up matrix; choose ADAMW, or type LORA or LOCON without "
        "tucker.",
    ),
    Rule(
        "optimization.optimizer",
        lambda asked: asked.optimizer(v1.OPTIMIZER_ADAMW_8BIT) and asked.gpus == 0,
        "is ADAMW_8BIT, which saves memory on GPUs, but the compute class has none; choose ADAMW, or a class with a GPU.",
    ),
    Rule(
        "optimization.schedule_cycles",
        lambda asked: (
            _given(asked.optimization, "schedule_cycles")
            and asked.optimization.schedule != v1.SCHEDULE_COSINE_WITH_RESTARTS
        ),
        "is set, but only schedule COSINE_WITH_RESTARTS has cycles; leave it out, or set optimization.schedule.",
    ),
    Rule(
        "optimization.schedule_power",
        lambda asked: (
            _given(asked.optimization, "schedule_power") and asked.optimization.schedule != v1.SCHEDULE_POLYNOMIAL
        ),
        "is set, but only schedule POLYNOMIAL has a power; leave it out, or set optimization.schedule.",
    ),
    # Validation
    Rule(
        "validation.share",
        lambda asked: asked.spec.validation.share > 0 and bool(asked.spec.validation.subset),
        "is set beside validation.subset, but examples are held out in one way; keep one of them.",
    ),
    *(
        Rule(
            f"validation.{field}",
            partial(_wants_without_validation, field),
            "is set, but no examples are held out to measure; set validation.share, such as 0.1, or validation.subset, or "
            "leave it out.",
        )
        for field in ("keep_best", "patience")
    ),
    *(
        Rule(
            f"validation.{field}",
            partial(_says_without_validation, field),
            "is set, but no examples are held out to measure; set validation.share, such as 0.1, or validation.subset, or "
            "leave it out.",
        )
        for field in ("every_steps", "timesteps")
    ),
    Rule(
        "validation.subset",
        _holds_out_an_unknown_subset,
        "is the path_prefix of no subset in dataset.subsets; name one of them, or add it there.",
    ),
    Rule(
        "validation.subset",
        _holds_out_everything,
        "is the only subset, so that nothing is left to train on; add another subset, or set validation.share.",
    ),
    Rule(
        "validation.subset",
        _holds_out_class_images,
        "is a subset of class images, which do not show what is taught; name another subset.",
    ),
)


def violations_of_fitting(
    spec: v1.TrainingSpec, initial: v1.Adapter | None, classes: ComputeClasses = LOCAL_MODE, path: str = "spec"
) -> Iterator[Violation]:
    """Every broken rule, one violation a field."""
    chosen = compute_choice.class_for(spec, classes)
    asked = Asked(spec, type_of(spec.adapter, initial), None if chosen is None else chosen.gpus)
    named = set()
    for rule in RULES:
        if rule.field not in named and rule.broken(asked):
            named.add(rule.field)
            field = f"{path}.{rule.field}"
            yield Violation(field, f"{field} {rule.sentence}", "CONFLICT")


def _is_logit_normal(asked: Asked) -> bool:
    return asked.spec.noise.timestep_sampling == v1.TIMESTEP_SAMPLING_LOGIT_NORMAL
