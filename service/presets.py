"""What a spec leaves open, filled in; what the training pictures' size decides stands in a table here. Pure.

Three things stay open for the trainer, which sees data and device: the number of steps where epochs were asked for, with the
lengths that follow from it (warm-up, distance of checkpoints); and the precision, which follows from the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loramill import v1
from service import adapter_presets
from service.adapter_presets import CONVERTED_RANK
from service.capacity import USUAL_LIMIT
from service.compute_classes import LOCAL
from service.dataset_validation import concept_of, name_of, varies
from service.defaults import choose, default
from service.family_validation import PREDICTIONS, has_second_text_encoder, usual_clip_skip
from service.fitting_presets import (
    OPTIMIZERS,
    OptimizerPreset,
    resolve_loss,
    resolve_noise,
    resolve_optimization,
    resolve_validation,
)
from service.preset_table import FAMILIES, AdapterPreset, preset_for
from service.sources import sources_of
from service.text_presets import resolve_text

SMALL = 128
"""Side in pixels up to which the row for small pictures holds."""

LARGE = 1024
"""Side in pixels from which the row for large pictures holds."""

DAY_SECONDS = 24 * 60 * 60

STRENGTHS = (0.0, 0.5, 1.0, 1.5)
"""At which adapters are shown: without it, half, as trained, and too much."""


@dataclass(frozen=True)
class PicturePreset:
    """One row of the table."""

    batch_size: int
    min_snr_gamma: float
    caption_dropout: float
    guidance_scale: float


# fmt: off
#                       batch  gamma  dropout  guidance
_SMALL = PicturePreset( 8,     0.0,   0.05,    3.0)
_USUAL = PicturePreset( 4,     5.0,   0.05,    7.5)
_LARGE = PicturePreset( 2,     5.0,   0.05,    5.0)
# fmt: on


def adapter_preset_for(base: v1.BaseModel | None, spec: v1.TrainingSpec, initial: v1.Adapter | None) -> AdapterPreset:
    """The row for the adapter; where family, type or purpose is unknown that of another, so that the rest can be judged."""
    family = base.family if base is not None and base.family in FAMILIES else min(FAMILIES)
    adapter_type = adapter_presets.type_of(spec.adapter, initial)
    known = adapter_type in v1.AdapterType.values()
    purpose = spec.purpose if spec.purpose in v1.Purpose.values() else v1.PURPOSE_UNSPECIFIED
    return preset_for(family, adapter_type if known else v1.ADAPTER_TYPE_LORA, purpose or v1.PURPOSE_CONCEPT)


def default_resolution(base: v1.BaseModel) -> int:
    """The base model's own, rounded to what a spec may ask for."""
    return max(64, base.resolution // 64 * 64)


def concept_kind(concept: v1.ConceptSpec) -> v1.ConceptKind.ValueType:
    """The kind asked for; where none is, what tag or class words say, and AUTO, which the trainer measures, without both."""
    if concept.kind != v1.CONCEPT_KIND_UNSPECIFIED:
        return concept.kind
    if concept.activation_tag:
        return v1.CONCEPT_KIND_NEW
    return v1.CONCEPT_KIND_MODIFIED if concept.class_words else v1.CONCEPT_KIND_AUTO


def resolve(
    asked: v1.TrainingSpec,
    base: v1.BaseModel,
    seed: int,
    initial: v1.Adapter | None = None,
    compute_class: str = LOCAL,
    compute_fallbacks: Sequence[str] = (),
) -> v1.TrainingSpec:
    """The spec with every unset field filled in. `asked` must be valid; `seed` is taken where it has none.

    `initial` is the adapter that it goes on from; `compute_class` the class that it gets, and `compute_fallbacks` are those that
    it may go to from there.
    """
    spec = v1.TrainingSpec()
    spec.CopyFrom(asked)
    default(spec.dataset, "resolution", default_resolution(base))
    choose(spec.adapter, "type", adapter_presets.type_of(spec.adapter, initial))
    choose(spec, "purpose", v1.PURPOSE_CONCEPT)
    choose(spec.optimization, "optimizer", v1.OPTIMIZER_ADAMW)
    of_adapter, of_optimizer = adapter_preset_for(base, spec, initial), OPTIMIZERS[spec.optimization.optimizer]
    of_pictures = picture_preset(spec.dataset.resolution)
    _resolve_concepts(spec)
    resolve_text(spec)
    _resolve_dataset(spec, of_pictures)
    adapter_presets.resolve_adapter(spec.adapter, of_adapter, initial)
    _resolve_networks(spec, of_adapter, of_optimizer, base)
    resolve_optimization(spec.optimization, of_optimizer, of_adapter.steps, of_pictures.batch_size, seed)
    resolve_loss(spec.loss, of_pictures.min_snr_gamma)
    resolve_noise(spec.noise, of_adapter.noise_offset)
    resolve_validation(spec.validation, spec.optimization)
    _resolve_previews(spec, of_pictures)
    if spec.optimization.HasField("steps"):
        default(spec.checkpoints, "every_steps", max(25, spec.optimization.steps // 10))
    _resolve_outputs(spec.outputs)
    choose(spec, "compute_class", compute_class)
    if spec.HasField("compute_fallback"):
        spec.compute_fallback.compute_classes[:] = compute_fallbacks
        if not spec.compute_fallback.HasField("after"):
            spec.compute_fallback.after.FromTimedelta(USUAL_LIMIT)
    if not spec.HasField("deadline"):
        spec.deadline.FromSeconds(DAY_SECONDS)
    del spec.sources[:]
    spec.sources.extend(sources_of(asked, spec, base.family, of_adapter.source, of_optimizer.source))
    return spec


def _resolve_concepts(spec: v1.TrainingSpec) -> None:
    prior = spec.concept.prior_preservation
    given = {name_of(concept_of(subset, spec)) for subset in spec.dataset.subsets if subset.class_images}
    captions = 0
    for concept in (*spec.concepts, spec.concept):
        concept.kind = concept_kind(concept)
        own, has_class_images = concept.prior_preservation, name_of(concept) in given
        is_measured = concept.kind == v1.CONCEPT_KIND_AUTO
        # Whoever gives pictures of the class needs none that the base makes; what is measured decides for itself.
        if own.captions or has_class_images or not is_measured:
            default(own, "enabled", bool(own.captions or (concept.class_words and not has_class_images)))
        if own.enabled and not own.captions and concept.class_words:
            own.captions.append(concept.class_words)
        captions += len(own.captions) if own.enabled else 0
    measures = any(concept.kind == v1.CONCEPT_KIND_AUTO for concept in (spec.concept, *spec.concepts))
    if captions or given or measures:
        default(prior, "weight", 1.0)
    if captions or measures:
        default(prior, "ratio", 1.0)
    if captions and not measures:
        default(prior, "images", min(1000, max(16, 2 * captions)))


def _resolve_dataset(spec: v1.TrainingSpec, preset: PicturePreset) -> None:
    dataset = spec.dataset
    default(dataset, "bucket_step", 8 if dataset.resolution < 512 else 64)
    default(dataset, "buckets", True)
    default(dataset, "upscale", False)
    default(dataset, "flip_probability", 0.0)
    choose(dataset, "crop", v1.CROP_CENTER)
    if dataset.crop == v1.CROP_RANDOM:
        default(dataset, "crop_variants", 4)
    choose(dataset, "masks", v1.MASK_SOURCE_NONE)
    choose(dataset, "background", "#ffffff")
    if not dataset.subsets:
        dataset.subsets.add()
    for subset in dataset.subsets:
        default(subset, "repeats", 1)
        default(subset, "weight", 1.0)
        default(subset, "class_images", False)
        default(subset, "flip_probability", dataset.flip_probability)
        captions = subset.captions
        if subset.class_images and captions.source == v1.CAPTION_SOURCE_UNSPECIFIED:
            choose(captions, "text", concept_of(subset, spec).class_words)
            choose(captions, "source", v1.CAPTION_SOURCE_FILE_OR_FIXED if captions.text else v1.CAPTION_SOURCE_FILE)
        choose(captions, "source", v1.CAPTION_SOURCE_FILE)
        choose(captions, "separator", ",")
        default(captions, "wildcards", False)
        default(captions, "lines_as_alternatives", False)
        default(captions, "shuffle_tags", False)
        default(captions, "keep_tags", 0)
        default(captions, "tag_dropout", 0.0)
        fixed = captions.source == v1.CAPTION_SOURCE_FIXED
        default(captions, "caption_dropout", 0.0 if fixed else preset.caption_dropout)
        if varies(captions):
            default(captions, "variants", 16)


def picture_preset(resolution: int) -> PicturePreset:
    """The row for pictures of this side, in pixels."""
    if resolution <= SMALL:
        return _SMALL
    return _LARGE if resolution >= LARGE else _USUAL


def _resolve_networks(
    spec: v1.TrainingSpec, preset: AdapterPreset, optimizer: OptimizerPreset, base: v1.BaseModel
) -> None:
    text_encoder_rate = optimizer.rate(preset.text_encoder_rate)
    default(spec.unet, "train", True)
    default(spec.unet, "learning_rate", optimizer.rate(preset.unet_rate))
    default(spec.text_encoder, "train", False)
    default(spec.text_encoder, "learning_rate", text_encoder_rate)
    if has_second_text_encoder(base.family):
        default(spec.text_encoder_2, "train", False)
        default(spec.text_encoder_2, "learning_rate", text_encoder_rate)
    default(spec, "clip_skip", usual_clip_skip(base.family))
    choose(spec.loss, "prediction_type", PREDICTIONS.get(base.prediction_type, v1.PREDICTION_TYPE_UNSPECIFIED))
    if base.zero_terminal_snr:
        default(spec, "zero_terminal_snr", True)


def _resolve_previews(spec: v1.TrainingSpec, preset: PicturePreset) -> None:
    previews, concept = spec.previews, spec.concept
    is_called = concept.activation_tag or concept.kind != v1.CONCEPT_KIND_AUTO
    if not previews.prompts and is_called:
        subject = "[tag]" if concept.activation_tag else concept.class_words
        kind = f", {concept.class_words}" if concept.activation_tag and concept.class_words else ""
        previews.prompts.add(prompt=subject)
        previews.prompts.add(prompt=subject + kind if kind else f"a picture of {subject}")
        for further in spec.concepts:
            previews.prompts.add(prompt=name_of(further))
    for place, prompt in enumerate(previews.prompts):
        default(prompt, "seed", place)
    default(previews, "every_steps", 0)
    default(previews, "inference_steps", 20)
    default(previews, "guidance_scale", preset.guidance_scale)
    default(previews, "width", spec.dataset.resolution)
    default(previews, "height", spec.dataset.resolution)
    choose(previews, "sampler", v1.PREVIEW_SAMPLER_BASE)
    if not previews.strengths:
        previews.strengths.extend(STRENGTHS)
    default(previews, "strength_prompts", min(2, len(previews.prompts)))


def _resolve_outputs(outputs: v1.OutputSpec) -> None:
    choose(outputs, "name", "adapter")
    choose(outputs, "precision", v1.PRECISION_FP32)
    default(outputs, "save_every", 0)
    default(outputs, "captions_in_metadata", False)
    default(outputs, "converted_rank", CONVERTED_RANK)
    default(outputs, "tensorboard", False)
