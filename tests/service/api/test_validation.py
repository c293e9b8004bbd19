"""Bounds on both sides, choices, and what fields ask of each other: the table of what a spec may say."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from loramill import v1
from service import bounds, plan, presets
from service.bounds import Range
from service.validation import violations, violations_of_request_id
from tests.service.api.specs import BASE, DATASET, found, put, spec_of, valid, without_sources

LARGEST_SEED = 2**63 - 1

NUMBERS = [
    # path                                      below   lowest   highest     above
    ("dataset.resolution", 0, 64, 2048, 2112),
    ("dataset.resolution", 100, 128, 1984, 2000),
    ("dataset.bucket_step", 0, 8, 64, 72),
    ("dataset.flip_probability", -0.01, 0, 1, 1.01),
    ("dataset.subsets[0].repeats", 0, 1, 10_000, 10_001),
    ("dataset.subsets[0].weight", 0, 1e-6, 100, 100.1),
    ("dataset.subsets[0].flip_probability", -0.01, 0, 1, 1.01),
    ("dataset.subsets[0].captions.keep_tags", -1, 0, 75, 76),
    ("dataset.subsets[0].captions.tag_dropout", -0.01, 0, 1, 1.01),
    ("dataset.subsets[0].captions.caption_dropout", -0.01, 0, 1, 1.01),
    ("concept.prior_preservation.weight", -0.01, 0, 100, 100.1),
    ("concept.prior_preservation.ratio", 0.12, 0.125, 4, 4.01),
    ("concept.prior_preservation.images", 0, 1, 1000, 1001),
    ("adapter.rank", 0, 1, 1024, 1025),
    ("adapter.alpha", 0, 1e-6, 4096, 4096.1),
    ("adapter.dropout", -0.01, 0, 0.999, 1),
    ("adapter.rank_dropout", -0.01, 0, 0.999, 1),
    ("adapter.module_dropout", -0.01, 0, 0.999, 1),
    ("adapter.lora_plus_ratio", 0.9, 1, 64, 65),
    ("unet.learning_rate", 0, 1e-9, 1, 1.01),
    ("text_encoder.learning_rate", 0, 1e-9, 1, 1.01),
    ("optimization.steps", 0, 1, 1_000_000, 1_000_001),
    ("optimization.epochs", 0, 1, 10_000, 10_001),
    ("optimization.batch_size", 0, 1, 256, 257),
    ("optimization.gradient_accumulation", 0, 1, 256, 257),
    ("optimization.weight_decay", -0.01, 0, 1, 1.01),
    ("optimization.beta1", -0.01, 0, 0.999, 1),
    ("optimization.beta2", -0.01, 0, 0.9999, 1),
    ("optimization.warmup_steps", -1, 0, 1000, 1001),
    ("optimization.max_gradient_norm", -0.01, 0, 1000, 1000.1),
    ("optimization.seed", -1, 0, LARGEST_SEED, None),
    ("loss.min_snr_gamma", 0.05, 0, 100, 100.1),
    ("previews.every_steps", -1, 0, 1_000_000, 1_000_001),
    ("previews.inference_steps", 0, 1, 150, 151),
    ("previews.guidance_scale", 0.99, 1, 30, 30.1),
    ("previews.prompts[0].seed", -1, 0, LARGEST_SEED, None),
    ("checkpoints.every_steps", 0, 1, 1_000_000, 1_000_001),
    ("outputs.save_every", -1, 0, 1_000_000, 1_000_001),
    ("outputs.converted_rank", -1, 0, 1024, 1025),
]


@pytest.mark.parametrize(("path", "below", "lowest", "highest", "above"), NUMBERS)
def test_numbers_have_bounds_on_both_sides(path: str, below: Any, lowest: Any, highest: Any, above: Any) -> None:
    for value in (lowest, highest):
        spec = valid()
        put(spec, path, value)
        assert found(spec) == {}, value
    for value in (below, above):
        if value is not None:
            spec = valid()
            put(spec, path, value)
            assert path in found(spec), value
            text = next(violation.description for violation in violations(spec, BASE, DATASET))
            assert str(value) in text
            assert path in text


TEXTS = [
    ("display_name", "x" * 200, "x" * 201),
    ("display_name", "Größe 1", "a\x00b"),
    ("dataset.subsets[0].path_prefix", "x" * 1000, "x" * 1001),
    ("dataset.subsets[0].captions.prefix", "x" * 1000, "x" * 1001),
    ("dataset.subsets[0].captions.suffix", "x" * 1000, "x" * 1001),
    ("dataset.subsets[0].captions.separator", "; ", "  "),
    ("dataset.subsets[0].captions.keep_separator", "||||||||", "|||||||||"),
    ("dataset.subsets[0].captions.group_separator", ";;;", "a\n"),
    ("dataset.background", "#00FFa0", "white"),
    ("dataset.background", "#ffffff", "#fff"),
    ("concept.activation_tag", "x" * 75, "x" * 76),
    ("concept.activation_tag", "my dog", "my, dog"),
    ("concept.activation_tag", "dog", " dog"),
    ("concept.class_words", "x" * 200, "x" * 201),
    ("concept.prior_preservation.captions", ["x" * 1000], ["x" * 1001]),
    ("concept.prior_preservation.captions", ["x"] * 1000, ["x"] * 1001),
    ("previews.prompts[0].prompt", "x" * 1000, "x" * 1001),
    ("previews.prompts[0].negative_prompt", "x" * 1000, "x" * 1001),
    ("outputs.name", "a.B_c-1", "a/b"),
    ("outputs.name", "x" * 100, "x" * 101),
]


@pytest.mark.parametrize(("path", "good", "bad"), TEXTS)
def test_texts_have_bounds(path: str, good: Any, bad: Any) -> None:
    spec = valid()
    put(spec, path, good)
    assert found(spec) == {}
    spec = valid()
    put(spec, path, bad)
    assert [field.partition("[0]")[0] for field in found(spec)] == [
        path.rpartition("[0]")[0] if path.endswith("]") else path.partition("[0]")[0]
    ]


def test_a_deadline_has_bounds_on_both_sides() -> None:
    for seconds, good in ((0.999, False), (1, True), (30 * 86400, True), (30 * 86400 + 1, False), (-5, False)):
        spec = valid()
        spec.deadline.FromNanoseconds(int(seconds * 1e9))
        assert found(spec) == ({} if good else {"deadline": "OUT_OF_RANGE"}), seconds


@pytest.mark.parametrize(
    "path", ["adapter.alpha", "unet.learning_rate", "loss.min_snr_gamma", "dataset.flip_probability"]
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_out_of_range(path: str, value: float) -> None:
    spec = valid()
    put(spec, path, value)
    assert found(spec) == {path: "OUT_OF_RANGE"}


def test_an_unknown_choice_and_an_unknown_field_are_refused() -> None:
    spec = valid()
    put(spec, "optimization.schedule", 77)
    assert found(spec) == {"optimization.schedule": "UNKNOWN_VALUE"}
    # Field 100 of the adapter, a varint: what a newer client would send.
    newer = v1.TrainingSpec.FromString(valid().SerializeToString() + b"\x2a\x03\xa0\x06\x01")
    assert found(newer) == {"adapter": "UNKNOWN_FIELD"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (spec_of(base_model=""), {"base_model": "REQUIRED"}),
        (spec_of(base_model="shapes"), {"base_model": "INVALID_NAME"}),
        (spec_of(dataset__dataset=""), {"dataset.dataset": "REQUIRED"}),
        (spec_of(dataset__dataset="datasets/../x"), {"dataset.dataset": "INVALID_NAME"}),
        (spec_of(concept__activation_tag=""), {}),
        (
            spec_of(concept__activation_tag="", concepts=[v1.ConceptSpec(activation_tag="zyx")]),
            {"concept.activation_tag": "REQUIRED", "concepts[0]": "CONFLICT"},
        ),
        (spec_of(concept__activation_tag="", concept__class_words="dog"), {}),
        (
            spec_of(concept__kind=v1.CONCEPT_KIND_NEW, concept__activation_tag=""),
            {"concept.activation_tag": "REQUIRED"},
        ),
        (
            spec_of(concept__kind=v1.CONCEPT_KIND_MODIFIED),
            {"concept.activation_tag": "CONFLICT", "concept.class_words": "REQUIRED"},
        ),
        (spec_of(concept__prior_preservation__enabled=True), {"concept.prior_preservation.captions": "REQUIRED"}),
        (
            spec_of(concept__prior_preservation__captions=["a dog", " "]),
            {"concept.prior_preservation.captions[1]": "REQUIRED"},
        ),
        (spec_of(adapter__conv_rank=4), {"adapter.conv_rank": "CONFLICT"}),
        (spec_of(adapter__conv_rank=4, adapter__targets=v1.ADAPTER_TARGETS_ALL), {}),
        (spec_of(adapter__conv_rank=0, adapter__targets=v1.ADAPTER_TARGETS_ALL), {"adapter.conv_rank": "OUT_OF_RANGE"}),
        (
            spec_of(adapter__conv_alpha=5000, adapter__targets=v1.ADAPTER_TARGETS_ALL),
            {"adapter.conv_alpha": "OUT_OF_RANGE"},
        ),
        (spec_of(unet__train=False), {"unet.train": "CONFLICT"}),
        (spec_of(unet__train=False, text_encoder__train=True), {}),
        (spec_of(optimization__steps=10, optimization__warmup_steps=11), {"optimization.warmup_steps": "OUT_OF_RANGE"}),
        (spec_of(optimization__epochs=10, optimization__warmup_steps=5000), {}),
        (spec_of(dataset__resolution=64, dataset__bucket_step=128), {"dataset.bucket_step": "OUT_OF_RANGE"}),
        (
            spec_of(
                **{
                    "dataset__subsets[0]__captions__source": v1.CAPTION_SOURCE_FIXED,
                    "concept__activation_tag": "",
                    "concept__class_words": "dog",
                }
            ),
            {"dataset.subsets[0].captions.text": "REQUIRED"},
        ),
        (spec_of(**{"dataset__subsets[0]__captions__source": v1.CAPTION_SOURCE_FIXED}), {}),
        (
            spec_of(**{"dataset__subsets[0]__captions__text": "a dog"}),
            {"dataset.subsets[0].captions.text": "CONFLICT"},
        ),
        (
            spec_of(
                **{
                    "previews__prompts[0]__prompt": "[tag]",
                    "concept__activation_tag": "",
                    "concept__class_words": "dog",
                }
            ),
            {"previews.prompts[0].prompt": "CONFLICT"},
        ),
        (spec_of(compute_class="h100"), {"compute_class": "RESOURCE_NOT_FOUND"}),
        (spec_of(compute_class="local"), {}),
    ],
)
def test_what_fields_ask_of_each_other(spec: v1.TrainingSpec, expected: dict[str, str]) -> None:
    assert found(spec) == expected


def test_two_subsets_of_the_same_files_are_refused() -> None:
    spec = valid()
    spec.dataset.subsets.add(path_prefix="a/")
    spec.dataset.subsets.add(path_prefix="a/")
    assert found(spec) == {"dataset.subsets[1].path_prefix": "DUPLICATE"}


def test_what_the_spec_names_must_be_there_and_usable() -> None:
    missing = {violation.field: violation.reason for violation in violations(valid(), None, None)}
    assert missing == {"spec.base_model": "RESOURCE_NOT_FOUND", "spec.dataset.dataset": "RESOURCE_NOT_FOUND"}
    flux = v1.BaseModel(name=BASE.name, family="flux", resolution=1024)
    still_open = v1.Dataset(name=DATASET.name, state=v1.DATASET_STATE_OPEN)
    unusable = {violation.field: violation.reason for violation in violations(valid(), flux, still_open)}
    assert unusable == {"spec.base_model": "NOT_SUPPORTED", "spec.dataset.dataset": "NOT_FINALIZED"}


def test_a_request_id_has_a_bound() -> None:
    assert violations_of_request_id("x" * 200) == []
    assert [violation.field for violation in violations_of_request_id("x" * 201)] == ["request_id"]


def messages_of(descriptor: Descriptor) -> Iterator[Descriptor]:
    yield descriptor
    for field in descriptor.fields:
        if field.message_type is not None and field.message_type.file.package == "loramill.v1":
            yield from messages_of(field.message_type)


def test_no_field_of_the_spec_lacks_its_bound() -> None:
    elsewhere = {
        "TrainingSpec.base_model",
        "TrainingSpec.compute_class",
        "DatasetSpec.dataset",
        "AdapterSpec.initial_adapter",
        "TextSpec.max_tokens",
    }
    tables = {message.DESCRIPTOR.name: fields for message, fields in bounds.BOUNDS.items()}
    kinds = {
        FieldDescriptor.TYPE_INT32: Range,
        FieldDescriptor.TYPE_INT64: Range,
        FieldDescriptor.TYPE_DOUBLE: Range,
        FieldDescriptor.TYPE_STRING: bounds.Text,
    }
    for message in messages_of(v1.TrainingSpec.DESCRIPTOR):
        for field in message.fields:
            if field.type in kinds and f"{message.name}.{field.name}" not in elsewhere:
                assert isinstance(tables[message.name].get(field.name), kinds[field.type]), (
                    f"{message.name}.{field.name}"
                )


SPECS = [
    spec_of(),
    spec_of(dataset__resolution=512),
    spec_of(optimization__epochs=3),
    spec_of(adapter__targets=v1.ADAPTER_TARGETS_ALL, adapter__rank=4),
    spec_of(concept__activation_tag="", concept__class_words="dog"),
    spec_of(concept__prior_preservation__captions=["a cat"] * 700),
    spec_of(**{"dataset__subsets[0]__captions__source": v1.CAPTION_SOURCE_FIXED}),
]


@pytest.mark.parametrize("spec", SPECS)
def test_a_resolved_spec_is_valid_and_resolves_to_itself(spec: v1.TrainingSpec) -> None:
    resolved = presets.resolve(spec, BASE, seed=5)
    assert found(resolved) == {}
    assert without_sources(presets.resolve(resolved, BASE, seed=6)) == without_sources(resolved)


def test_the_preset_follows_the_resolution_and_the_rank() -> None:
    small, usual = presets.resolve(valid(), BASE, 5), presets.resolve(spec_of(dataset__resolution=512), BASE, 5)
    assert (small.optimization.batch_size, small.loss.min_snr_gamma, small.previews.guidance_scale) == (8, 0, 3)
    assert (usual.optimization.batch_size, usual.loss.min_snr_gamma, usual.previews.guidance_scale) == (4, 5, 7.5)
    assert (small.dataset.bucket_step, usual.dataset.bucket_step) == (8, 64)
    assert presets.resolve(spec_of(adapter__rank=4), BASE, 5).adapter.alpha == 4
    assert small.optimization.warmup_steps == 50
    assert small.checkpoints.every_steps == 100
    assert small.optimization.seed == 5


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"concept__activation_tag": "zyx"}, v1.CONCEPT_KIND_NEW),
        ({"concept__activation_tag": "zyx", "concept__class_words": "dog"}, v1.CONCEPT_KIND_NEW),
        ({"concept__activation_tag": "", "concept__class_words": "dog"}, v1.CONCEPT_KIND_MODIFIED),
        ({"concept__activation_tag": ""}, v1.CONCEPT_KIND_AUTO),
        ({"concept__kind": v1.CONCEPT_KIND_AUTO, "concept__activation_tag": "zyx"}, v1.CONCEPT_KIND_AUTO),
    ],
)
def test_tag_and_class_words_decide_the_kind_unless_it_is_to_be_measured(fields: dict[str, Any], kind: int) -> None:
    assert presets.resolve(spec_of(**fields), BASE, 5).concept.kind == kind


def test_what_is_measured_leaves_open_what_follows_from_it() -> None:
    asked = spec_of(concept__kind=v1.CONCEPT_KIND_AUTO, concept__activation_tag="", concept__class_words="dog")
    resolved = presets.resolve(asked, BASE, 5)
    prior = resolved.concept.prior_preservation
    assert not prior.HasField("enabled")
    assert not prior.HasField("images")
    assert (prior.weight, prior.ratio, list(prior.captions)) == (1, 1, [])
    assert not resolved.previews.prompts, "they follow from tag or class words"
    asked.concept.prior_preservation.captions.append("a cat")
    assert presets.resolve(asked, BASE, 5).concept.prior_preservation.enabled


@pytest.mark.parametrize(
    ("fields", "enabled", "captions", "images"),
    [
        ({}, False, [], 0),
        ({"concept__class_words": "dog"}, True, ["dog"], 16),
        ({"concept__prior_preservation__captions": ["a cat"] * 20}, True, ["a cat"] * 20, 40),
        ({"concept__class_words": "dog", "concept__prior_preservation__enabled": False}, False, [], 0),
    ],
)
def test_prior_preservation_is_on_where_there_is_something_to_keep(
    fields: dict[str, Any], enabled: bool, captions: list[str], images: int
) -> None:
    prior = presets.resolve(spec_of(**fields), BASE, 5).concept.prior_preservation
    assert (prior.enabled, list(prior.captions), prior.images) == (enabled, captions, images)


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"unet__learning_rate": 0.01}, "unet.learning_rate is 0.01"),
        ({"adapter__alpha": 128.0}, "a scale of 8"),
        ({"outputs__save_every": 2000}, "only the final adapter"),
        ({"outputs__save_every": 5}, "200 adapters"),
    ],
)
def test_what_deserves_attention_is_said(fields: dict[str, Any], part: str) -> None:
    sentences = plan.warnings(presets.resolve(spec_of(**fields), BASE, 5))
    assert len(sentences) == 1
    assert part in sentences[0]
    assert plan.warnings(presets.resolve(valid(), BASE, 5)) == []
