"""What the service resolves for a family, the trainer can read; and what an older service left open, the base decides."""

from __future__ import annotations

import pytest

from loramill import v1
from service.presets import resolve
from tests.service.api.specs import spec_of
from trainer.config import TrainConfig
from trainer.config_reading import read_config
from trainer.families.base import BaseOptions
from trainer.families.registry import FAMILIES, options_of


def read(spec: v1.TrainingSpec, base: v1.BaseModel) -> TrainConfig:
    return read_config(v1.Assignment(training_job="trainingJobs/1", launch=1, spec=spec, base_model=base))


def base_of(family: str, **more: object) -> v1.BaseModel:
    return v1.BaseModel(name="baseModels/b", family=family, resolution=1024, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_resolved_spec_says_all_that_a_family_has(family: str) -> None:
    base = base_of(family, prediction_type="v_prediction", zero_terminal_snr=True)
    config = read(resolve(spec_of(text_encoder__train=True), base, 1), base)
    assert list(config.trained) == ["unet", "text_encoder"]
    options = options_of(config)
    assert (options.clip_skip, options.prediction_type, options.zero_terminal_snr) == (
        2 if family == "sdxl" else 1,
        "v_prediction",
        True,
    )


def test_the_job_has_its_way_over_the_base_model_s_record() -> None:
    base = base_of("sdxl", prediction_type="v_prediction", zero_terminal_snr=True)
    wish = spec_of(
        loss__prediction_type=v1.PREDICTION_TYPE_EPSILON,
        zero_terminal_snr=False,
        clip_skip=3,
        text_encoder_2__train=True,
        text_encoder_2__learning_rate=2e-6,
    )
    config = read(resolve(wish, base, 1), base)
    options = options_of(config)
    assert (options.clip_skip, options.prediction_type, options.zero_terminal_snr) == (3, "epsilon", False)
    assert config.trained["text_encoder_2"].learning_rate == 2e-6


def test_what_nothing_says_is_left_to_the_base_s_own_files() -> None:
    resolved = resolve(spec_of(), base_of("sd15"), 1)
    resolved.ClearField("clip_skip")
    options = options_of(read(resolved, base_of("sd15")))
    assert options == BaseOptions(max_tokens=options.max_tokens)
