"""The family of a base model by its weights, and what a spec may ask of each family."""

from __future__ import annotations

from typing import Any

import pytest

from loramill import v1
from service.families import FAMILIES, Found, Layout, examine
from service.presets import resolve
from service.safetensors_header import Header, Tensor
from service.validation import violations
from tests.service.api.specs import DATASET, spec_of
from tests.service.api.tiny_base import TEXT_ENCODER, UNET, VAE, Shapes

LINEAR: Shapes = {**UNET, "mid_block.attentions.0.proj_in.weight": (8, 8)}
OPEN_CLIP: Shapes = {**UNET, "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight": (8, 1024)}
XL: Shapes = {
    **LINEAR,
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight": (8, 16 + 24),
    "add_embedding.linear_1.weight": (8, 20 + 6 * 4),
}
SECOND: Shapes = {"text_model.embeddings.token_embedding.weight": (20, 24), "text_projection.weight": (20, 24)}
CONFIGS: dict[str, dict[str, Any]] = {
    "unet": {"in_channels": 4, "sample_size": 96, "addition_time_embed_dim": 4},
    "vae": {"block_out_channels": [8, 8, 8, 8]},
    "text_encoder": {},
    "scheduler": {"prediction_type": "epsilon"},
}


def header(shapes: Shapes, **metadata: str) -> Header:
    return Header({name: Tensor("F16", shape, 0, 0) for name, shape in shapes.items()}, metadata)


def layout(
    unet: Shapes = UNET,
    text_encoder: Shapes = TEXT_ENCODER,
    text_encoder_2: Shapes | None = None,
    scheduler: dict[str, Any] | None = None,
    **metadata: str,
) -> Layout:
    folders = {"unet", "vae", "text_encoder", "scheduler", "tokenizer"}
    if text_encoder_2 is not None:
        folders |= {"text_encoder_2", "tokenizer_2"}
    return Layout(
        frozenset(folders),
        header(unet, **metadata),
        header(VAE),
        header(text_encoder),
        {**CONFIGS, "scheduler": scheduler if scheduler is not None else CONFIGS["scheduler"]},
        None if text_encoder_2 is None else header(text_encoder_2),
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (layout(), Found("sd15", 768, "epsilon")),
        (layout(LINEAR), Found("sd2", 768, "epsilon")),
        (
            layout(OPEN_CLIP, {"embeddings.token_embedding.weight": (20, 1024)}, scheduler={}),
            Found("sd2", 768, "v_prediction"),
        ),
        (layout(XL, text_encoder_2=SECOND), Found("sdxl", 768, "epsilon")),
        (layout(XL, text_encoder_2=SECOND, scheduler={}), Found("sdxl", 768, "epsilon")),
        (layout({**UNET, "v_pred": (0,)}), Found("sd15", 768, "v_prediction")),
        (layout(v_pred="", ztsnr=""), Found("sd15", 768, "v_prediction", True)),
        (
            layout({**XL, "v_pred": (0,), "ztsnr": (0,)}, text_encoder_2=SECOND),
            Found("sdxl", 768, "v_prediction", True),
        ),
        (
            layout(scheduler={"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}),
            Found("sd15", 768, "v_prediction", True),
        ),
    ],
)
def test_family_and_prediction_are_found_from_the_weights_then_the_scheduler(found: Layout, expected: Found) -> None:
    assert examine(found) == (expected, [])


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        (layout(XL), ["text_encoder_2 is missing", "complete sdxl base"]),
        (layout(text_encoder_2=SECOND), ["attends to words of width 16", "make 40", "has no embedding of sizes"]),
        (layout(XL, text_encoder_2=TEXT_ENCODER), ["make 32", "has no text_projection"]),
        (
            layout({**XL, "add_embedding.linear_1.weight": (8, 45)}, text_encoder_2=SECOND),
            ["is told 45 numbers", "sizes are 44"],
        ),
        (layout(LINEAR, {"embeddings.token_embedding.weight": (20, 12)}), ["width 16", "makes 12", "sd2 base"]),
        (layout({**LINEAR, "conv_in.weight": (8, 9, 3, 3)}), ["an inpainting model", "base of sd2"]),
        (layout({**UNET, "class_embedding.weight": (8, 8)}), ["an upscaler", "import a base of sd15, sd2, sdxl"]),
        (layout(scheduler={"prediction_type": "sample"}), ["prediction_type 'sample'"]),
    ],
)
def test_a_base_that_is_wrong_or_incomplete_is_told_what_it_lacks(given: Layout, parts: list[str]) -> None:
    found, problems = examine(given)
    assert found is None
    assert all(part in " ".join(problems) for part in parts), problems


def base_of(family: str, prediction: str = "epsilon", *, zero_terminal_snr: bool = False) -> v1.BaseModel:
    return v1.BaseModel(
        name="baseModels/shapes",
        family=family,
        resolution={"sd15": 512, "sd2": 768, "sdxl": 1024}[family],
        prediction_type=prediction,
        zero_terminal_snr=zero_terminal_snr,
    )


V = v1.PREDICTION_TYPE_V_PREDICTION


@pytest.mark.parametrize(
    ("spec", "base", "fields"),
    [
        (spec_of(text_encoder_2__train=True), base_of("sdxl"), set()),
        (spec_of(text_encoder_2__train=True), base_of("sd15"), {"text_encoder_2"}),
        (spec_of(text_encoder_2__learning_rate=1e-5), base_of("sd2"), {"text_encoder_2"}),
        (spec_of(text_encoder_2__train=True, unet__train=False), base_of("sdxl"), set()),
        (spec_of(clip_skip=1), base_of("sd15"), set()),
        (spec_of(clip_skip=1), base_of("sdxl"), {"clip_skip"}),
        (spec_of(clip_skip=2), base_of("sdxl"), set()),
        (spec_of(clip_skip=13), base_of("sdxl"), {"clip_skip"}),
        (spec_of(clip_skip=0), base_of("sdxl"), {"clip_skip"}),
        (spec_of(zero_terminal_snr=True), base_of("sdxl"), {"zero_terminal_snr"}),
        (spec_of(zero_terminal_snr=True, loss__prediction_type=V), base_of("sdxl"), set()),
        (spec_of(zero_terminal_snr=True), base_of("sd2", "v_prediction"), set()),
        (
            spec_of(zero_terminal_snr=True, loss__prediction_type=v1.PREDICTION_TYPE_EPSILON),
            base_of("sd2", "v_prediction"),
            {"zero_terminal_snr"},
        ),
    ],
)
def test_what_a_family_does_not_have_is_refused(spec: v1.TrainingSpec, base: v1.BaseModel, fields: set[str]) -> None:
    seen = violations(spec, base, DATASET)
    assert {violation.field.removeprefix("spec.") for violation in seen} == fields


def test_presets_follow_the_family() -> None:
    by_family = {family: resolve(spec_of(), base_of(family), 1) for family in FAMILIES}
    assert {family: spec.clip_skip for family, spec in by_family.items()} == {"sd15": 1, "sd2": 1, "sdxl": 2}
    assert [family for family, spec in by_family.items() if spec.HasField("text_encoder_2")] == ["sdxl"]
    xl = by_family["sdxl"]
    assert (xl.dataset.resolution, xl.adapter.rank, xl.adapter.alpha) == (1024, 32, 16)
    assert (xl.text_encoder.learning_rate, xl.text_encoder_2.learning_rate) == (1e-5, 1e-5)
    assert not xl.text_encoder.train
    assert not xl.text_encoder_2.train


def test_a_resolved_spec_says_what_the_base_predicts() -> None:
    usual = resolve(spec_of(), base_of("sd15"), 1)
    assert usual.loss.prediction_type == v1.PREDICTION_TYPE_EPSILON
    assert not usual.HasField("zero_terminal_snr")
    velocity = resolve(spec_of(), base_of("sdxl", "v_prediction", zero_terminal_snr=True), 1)
    assert (velocity.loss.prediction_type, velocity.zero_terminal_snr) == (V, True)
    mislabelled = resolve(spec_of(loss__prediction_type=V), base_of("sdxl"), 1)
    assert mislabelled.loss.prediction_type == V
