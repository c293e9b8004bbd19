"""What a spec may ask of previews, and what it gets where it asks for nothing."""

from __future__ import annotations

from typing import Any

import pytest

from loramill import v1
from service.presets import resolve
from service.validation import violations
from tests.service.api.specs import BASE, DATASET, found, spec_of, valid

PROMPT = [v1.PreviewPrompt(prompt="a cat")]


@pytest.mark.parametrize(
    ("fields", "reasons"),
    [
        ({"previews__width": 100}, {"previews.width": "OUT_OF_RANGE"}),
        ({"previews__height": 4096}, {"previews.height": "OUT_OF_RANGE"}),
        ({"previews__at_steps": [0]}, {"previews.at_steps[0]": "OUT_OF_RANGE"}),
        ({"previews__at_steps": list(range(1, 102))}, {"previews.at_steps": "OUT_OF_RANGE"}),
        ({"previews__strengths": [0.5, 4.5]}, {"previews.strengths[1]": "OUT_OF_RANGE"}),
        ({"previews__strengths": [0.125]}, {"previews.strengths[0]": "OUT_OF_RANGE"}),
        ({"previews__strengths": [1, 0.5, 1]}, {"previews.strengths[2]": "CONFLICT"}),
        ({"previews__strengths": [0.1 * number for number in range(9)]}, {"previews.strengths": "OUT_OF_RANGE"}),
        (
            {"previews__prompts": PROMPT, "previews__strength_prompts": 2},
            {"previews.strength_prompts": "OUT_OF_RANGE"},
        ),
        ({"previews__sampler": 99}, {"previews.sampler": "UNKNOWN_VALUE"}),
        ({"previews__strengths": [0.29, 0.57, 1.15], "previews__width": 96, "previews__strength_prompts": 0}, {}),
    ],
)
def test_what_previews_cannot_be_is_named(fields: dict[str, Any], reasons: dict[str, str]) -> None:
    assert found(spec_of(**fields)) == reasons


@pytest.mark.parametrize("sampler", [v1.PREVIEW_SAMPLER_HEUN, v1.PREVIEW_SAMPLER_DPM_PLUS_PLUS_2M_KARRAS])
def test_pure_noise_is_beyond_some_samplers(sampler: v1.PreviewSampler.ValueType) -> None:
    rescaled = v1.BaseModel(name=BASE.name, family="sd2", prediction_type="v_prediction", zero_terminal_snr=True)

    def refused(spec: v1.TrainingSpec) -> bool:
        return "spec.previews.sampler" in {one.field for one in violations(spec, rescaled, DATASET)}

    assert refused(spec_of(previews__sampler=sampler))
    assert not refused(spec_of(previews__sampler=sampler, zero_terminal_snr=False))
    assert not refused(spec_of(previews__sampler=v1.PREVIEW_SAMPLER_EULER))


def test_what_is_left_open_is_filled_in() -> None:
    previews = resolve(valid(), BASE, 1).previews
    assert (previews.width, previews.height, previews.sampler) == (64, 64, v1.PREVIEW_SAMPLER_BASE)
    assert (list(previews.strengths), previews.strength_prompts) == ([0, 0.5, 1, 1.5], 2)
    asked = spec_of(previews__prompts=PROMPT, previews__strengths=[1, 0.5], previews__height=96)
    previews = resolve(asked, BASE, 1).previews
    assert (previews.width, previews.height) == (64, 96)
    assert (list(previews.strengths), previews.strength_prompts) == ([1, 0.5], 1)
