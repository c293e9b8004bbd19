"""Options of the fitting: bounds, what contradicts what, presets, and where values came from."""

from __future__ import annotations

from typing import Any

import pytest

from loramill import v1
from service import presets
from service.compute_classes import ComputeClass, ComputeClasses
from service.fitting_validation import RULES
from service.preset_table import DYLORA, FAMILIES, LOCON, LOHA, LOKR, LORA, PRESETS
from service.validation import violations
from tests.service.api.specs import BASE, DATASET, found, put, spec_of, unset, valid

HUBER: dict[str, Any] = {"loss__type": v1.LOSS_TYPE_HUBER}
NORMAL: dict[str, Any] = {"noise__timestep_sampling": v1.TIMESTEP_SAMPLING_LOGIT_NORMAL}
HELD_OUT: dict[str, Any] = {"validation__share": 0.1}
SUBSETS: dict[str, Any] = {"dataset__subsets": [v1.SubsetSpec(path_prefix="a/"), v1.SubsetSpec(path_prefix="b/")]}

NUMBERS = [  # beside, path, below, lowest, highest, above
    (HUBER, "loss.threshold", 0, 0.0001, 10, 10.1),
    ({"noise__pyramid_levels": 6}, "noise.pyramid_discount", 0, 0.01, 1, 1.1),
    (NORMAL, "noise.logit_mean", -4.1, -4, 4, 4.1),
    (NORMAL, "noise.logit_deviation", 0, 0.01, 4, 4.1),
    ({"optimization__schedule": v1.SCHEDULE_POLYNOMIAL}, "optimization.schedule_power", 0, 0.01, 8, 8.1),
    ({"optimization__schedule": v1.SCHEDULE_COSINE_WITH_RESTARTS}, "optimization.schedule_cycles", 1, 2, 100, 101),
    (HELD_OUT, "validation.every_steps", 0, 1, 1_000_000, 1_000_001),
    (HELD_OUT, "validation.timesteps", 0, 1, 64, 65),
    (HELD_OUT, "validation.patience", -1, 0, 1000, 1001),
    ({}, "validation.share", -0.1, 0, 0.5, 0.6),
    ({}, "noise.offset", -0.1, 0, 1, 1.1),
    ({}, "noise.input_perturbation", -0.1, 0, 1, 1.1),
    ({}, "noise.pyramid_levels", -1, 0, 10, 11),
    ({}, "noise.min_timestep", -1, 0, 999, 1000),
    ({}, "noise.max_timestep", 0, 1, 1000, 1001),
    ({}, "loss.soft_min_snr_gamma", 0.05, 0, 100, 100.1),
    ({}, "optimization.ema_decay", 0.4, 0, 0.9999, 1),
]


@pytest.mark.parametrize(("beside", "path", "below", "lowest", "highest", "above"), NUMBERS)
def test_numbers_have_bounds_on_both_sides(
    beside: dict[str, Any], path: str, below: Any, lowest: Any, highest: Any, above: Any
) -> None:
    for value, good in ((below, False), (lowest, True), (highest, True), (above, False)):
        spec = spec_of(**beside)
        put(spec, path, value)
        assert (path not in found(spec)) is good, value


FREE, PRODIGY = v1.OPTIMIZER_SCHEDULE_FREE_ADAMW, v1.OPTIMIZER_PRODIGY
PAIRS = v1.OPTIMIZER_PRECONDITIONED_ADAMW
CONTRADICTIONS = [  # what contradicts, what is named, and what would do
    (
        {"loss__min_snr_gamma": 5.0, "loss__soft_min_snr_gamma": 5.0},
        "loss.soft_min_snr_gamma",
        {"loss__soft_min_snr_gamma": 5.0},
    ),
    (
        {"loss__min_snr_gamma": 5.0, "loss__debiased": True},
        "loss.debiased",
        {"loss__debiased": True, "loss__min_snr_gamma": 0.0},
    ),
    ({"loss__threshold": 0.1}, "loss.threshold", {**HUBER, "loss__threshold": 0.1}),
    ({"loss__threshold_schedule": v1.THRESHOLD_SCHEDULE_SNR}, "loss.threshold_schedule", HUBER),
    ({"noise__pyramid_discount": 0.3}, "noise.pyramid_discount", {"noise__pyramid_levels": 6}),
    ({"noise__logit_mean": 0.0}, "noise.logit_mean", NORMAL),
    ({"noise__logit_deviation": 1.0}, "noise.logit_deviation", NORMAL),
    (
        {"noise__min_timestep": 500, "noise__max_timestep": 500},
        "noise.max_timestep",
        {"noise__min_timestep": 500, "noise__max_timestep": 501},
    ),
    (
        {"optimization__optimizer": FREE, "optimization__ema_decay": 0.999},
        "optimization.ema_decay",
        {"optimization__ema_decay": 0.999},
    ),
    (
        {"optimization__optimizer": FREE, "optimization__schedule": v1.SCHEDULE_COSINE},
        "optimization.schedule",
        {"optimization__optimizer": FREE, "optimization__schedule": v1.SCHEDULE_CONSTANT},
    ),
    ({"optimization__optimizer": FREE, "optimization__beta1": 0.0}, "optimization.beta1", {"optimization__beta1": 0.0}),
    (
        {"optimization__optimizer": v1.OPTIMIZER_ADAFACTOR, "optimization__beta1": 0.9},
        "optimization.beta1",
        {"optimization__optimizer": v1.OPTIMIZER_ADAFACTOR},
    ),
    (
        {"optimization__optimizer": v1.OPTIMIZER_ADAFACTOR, "optimization__beta2": 0.9},
        "optimization.beta2",
        {"optimization__optimizer": v1.OPTIMIZER_ADAFACTOR},
    ),
    (
        {"optimization__optimizer": PRODIGY, "unet__learning_rate": 1e-4},
        "unet.learning_rate",
        {"optimization__optimizer": PRODIGY, "unet__learning_rate": 0.5},
    ),
    (
        {"optimization__optimizer": PRODIGY, "text_encoder__learning_rate": 1e-4},
        "text_encoder.learning_rate",
        {"optimization__optimizer": PRODIGY},
    ),
    (
        {"optimization__optimizer": PRODIGY, "adapter__lora_plus_ratio": 16.0},
        "adapter.lora_plus_ratio",
        {"adapter__lora_plus_ratio": 16.0},
    ),
    (
        {"optimization__optimizer": PAIRS, "adapter__type": LOHA},
        "optimization.optimizer",
        {"optimization__optimizer": PAIRS, "adapter__type": LOCON},
    ),
    (
        {"optimization__optimizer": PAIRS, "adapter__type": LOCON, "adapter__tucker": True},
        "optimization.optimizer",
        {"adapter__type": LOCON, "adapter__tucker": True},
    ),
    (
        {"optimization__schedule_cycles": 3},
        "optimization.schedule_cycles",
        {"optimization__schedule_cycles": 3, "optimization__schedule": v1.SCHEDULE_COSINE_WITH_RESTARTS},
    ),
    (
        {"optimization__schedule_power": 3.0},
        "optimization.schedule_power",
        {"optimization__schedule_power": 3.0, "optimization__schedule": v1.SCHEDULE_POLYNOMIAL},
    ),
    (
        {**SUBSETS, "validation__share": 0.1, "validation__subset": "a/"},
        "validation.share",
        {**SUBSETS, "validation__subset": "a/"},
    ),
    ({"validation__keep_best": True}, "validation.keep_best", {**HELD_OUT, "validation__keep_best": True}),
    ({"validation__patience": 3}, "validation.patience", {**HELD_OUT, "validation__patience": 3}),
    ({"validation__every_steps": 3}, "validation.every_steps", {**HELD_OUT, "validation__every_steps": 3}),
    ({"validation__timesteps": 3}, "validation.timesteps", {**HELD_OUT, "validation__timesteps": 3}),
    ({**SUBSETS, "validation__subset": "c/"}, "validation.subset", {**SUBSETS, "validation__subset": "b/"}),
    (
        {"dataset__subsets": [v1.SubsetSpec(path_prefix="a/")], "validation__subset": "a/"},
        "validation.subset",
        {**SUBSETS, "validation__subset": "a/"},
    ),
]


@pytest.mark.parametrize(("together", "named", "remedied"), CONTRADICTIONS)
def test_options_that_contradict_each_other_are_refused(
    together: dict[str, Any], named: str, remedied: dict[str, Any]
) -> None:
    assert found(spec_of(**together)) == {named: "CONFLICT"}
    assert found(spec_of(**remedied)) == {}


def test_class_images_are_not_what_is_validated() -> None:
    subsets = [v1.SubsetSpec(path_prefix="a/"), v1.SubsetSpec(path_prefix="b/", class_images=True)]
    spec = spec_of(dataset__subsets=subsets, validation__subset="b/", concept__class_words="dog")
    assert found(spec) == {"validation.subset": "CONFLICT"}


def test_every_rule_is_in_the_table_above() -> None:
    tried = {named for _, named, _ in CONTRADICTIONS}
    assert {rule.field for rule in RULES} - tried == {"text_encoder_2.learning_rate"}


def test_all_contradictions_are_told_at_once_with_their_remedy() -> None:
    spec = spec_of(
        optimization__optimizer=FREE, optimization__ema_decay=0.99, validation__patience=2, noise__logit_mean=1.0
    )
    seen = violations(spec, BASE, DATASET)
    assert [violation.field for violation in seen] == [
        "spec.noise.logit_mean",
        "spec.optimization.ema_decay",
        "spec.validation.patience",
    ]
    for violation in seen:
        assert "; " in violation.description, "the remedy follows"


def test_moments_of_8_bits_need_a_class_with_a_gpu() -> None:
    def offered(gpus: int) -> ComputeClasses:
        return ComputeClasses(classes=(ComputeClass(name="only", gpus=gpus, cpu="4", memory="16Gi"),))

    spec = spec_of(optimization__optimizer=v1.OPTIMIZER_ADAMW_8BIT)
    refused = violations(spec, BASE, DATASET, classes=offered(0))
    assert [violation.field for violation in refused] == ["spec.optimization.optimizer"]
    assert violations(spec, BASE, DATASET, classes=offered(1)) == []


def test_there_is_a_preset_for_every_family_type_and_purpose_and_it_says_its_source() -> None:
    purposes = (v1.PURPOSE_SUBJECT, v1.PURPOSE_STYLE, v1.PURPOSE_CONCEPT)
    expected = {
        (family, kind, purpose)
        for family in ("sd15", "sd2", "sdxl")
        for kind in (LORA, LOCON, LOHA, LOKR, DYLORA)
        for purpose in purposes
    }
    assert set(PRESETS) == expected
    assert {"sd15", "sd2", "sdxl"} == FAMILIES
    assert all(row.source for row in PRESETS.values())


def sources(spec: v1.TrainingSpec) -> dict[str, str]:
    return {entry.field: entry.source for entry in presets.resolve(spec, BASE, 5).sources}


def test_the_purpose_chooses_the_row_and_the_spec_says_so() -> None:
    spec = spec_of(purpose=v1.PURPOSE_STYLE, adapter__alpha=4.0)
    resolved = presets.resolve(spec, BASE, 5)
    assert (resolved.adapter.rank, resolved.adapter.alpha, resolved.optimization.steps) == (32, 4, 3000)
    assert resolved.noise.offset == 0.0357
    said = sources(spec)
    assert said["adapter.rank"].startswith("preset sd15/lora/style (Civitai article 8713")
    assert said["adapter.alpha"] == said["purpose"] == "given"
    assert said["optimization.batch_size"] == "preset for pictures of 64 pixels"
    assert said["optimization.gradient_accumulation"] == "default"


def test_every_field_of_a_resolved_spec_has_its_source() -> None:
    resolved = presets.resolve(valid(), BASE, 5)
    named = {entry.field for entry in resolved.sources}
    for field, _ in resolved.ListFields():
        assert field.name == "sources" or any(name.partition(".")[0] == field.name for name in named), field.name
    again = presets.resolve(resolved, BASE, 6)
    assert {entry.source for entry in again.sources} == {"given"}


@pytest.mark.parametrize(
    ("optimizer", "rate", "beta2", "schedule"),
    [
        (v1.OPTIMIZER_LION, 2e-5, 0.99, v1.SCHEDULE_COSINE),
        (PRODIGY, 1.0, 0.999, v1.SCHEDULE_COSINE),
        (FREE, 2e-4, 0.999, v1.SCHEDULE_CONSTANT),
        (v1.OPTIMIZER_ADAFACTOR, 1e-2, 0, v1.SCHEDULE_COSINE),
    ],
)
def test_an_optimizer_has_rates_and_decays_of_its_own(
    optimizer: v1.Optimizer.ValueType, rate: float, beta2: float, schedule: v1.Schedule.ValueType
) -> None:
    spec = spec_of(optimization__optimizer=optimizer)
    resolved = presets.resolve(spec, BASE, 5)
    assert resolved.unet.learning_rate == pytest.approx(rate)
    assert (resolved.optimization.beta2, resolved.optimization.schedule) == (beta2, schedule)
    assert sources(spec)["unet.learning_rate"].startswith("preset of optimizer ")
    assert found(resolved) == {}


def test_another_weighting_takes_the_place_of_the_presets() -> None:
    assert presets.resolve(spec_of(dataset__resolution=512), BASE, 5).loss.min_snr_gamma == 5
    for other in ({"loss__debiased": True}, {"loss__soft_min_snr_gamma": 5.0}):
        assert presets.resolve(spec_of(dataset__resolution=512, **other), BASE, 5).loss.min_snr_gamma == 0


def test_what_depends_on_an_option_stays_open_without_it() -> None:
    assert {name for name in unset(presets.resolve(valid(), BASE, 5)) if name.partition(".")[0] in _OF_FITTING} == {
        "NoiseSpec.logit_deviation",
        "NoiseSpec.logit_mean",
        "NoiseSpec.pyramid_discount",
        "LossSpec.threshold",
        "LossSpec.threshold_schedule",
        "OptimizationSpec.epochs",
        "OptimizationSpec.precision",
        "OptimizationSpec.schedule_cycles",
        "OptimizationSpec.schedule_power",
        "ValidationSpec.every_steps",
        "ValidationSpec.keep_best",
        "ValidationSpec.patience",
        "ValidationSpec.timesteps",
    }
    every = spec_of(**HUBER, **NORMAL, **HELD_OUT, noise__pyramid_levels=3)
    left = {name for name in unset(presets.resolve(every, BASE, 5)) if name.partition(".")[0] in _OF_FITTING}
    assert left == {
        "OptimizationSpec.epochs",
        "OptimizationSpec.precision",
        "OptimizationSpec.schedule_cycles",
        "OptimizationSpec.schedule_power",
    }


_OF_FITTING = {"NoiseSpec", "LossSpec", "OptimizationSpec", "ValidationSpec"}
