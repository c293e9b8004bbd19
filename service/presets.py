"""What a spec leaves open, filled in: one aligned table per family and adapter type. Pure.

Three things stay open for the trainer, which sees data and device: the number of steps where epochs were asked for, with the
lengths that follow from it (warm-up, distance of checkpoints); and the precision, which follows from the device.
"""

from __future__ import annotations

from dataclasses import dataclass

from loramill import v1

SMALL = 128
"""Side in pixels up to which the column for small pictures holds."""

DAY_SECONDS = 24 * 60 * 60


@dataclass(frozen=True)
class Preset:
    """One column of the table."""

    rank: int
    alpha_per_rank: float
    targets: v1.AdapterTargets.ValueType
    unet_rate: float
    text_encoder_rate: float
    steps: int
    batch_size: int
    min_snr_gamma: float
    caption_dropout: float
    guidance_scale: float


_ATTENTION_MLP = v1.ADAPTER_TARGETS_ATTENTION_MLP

# fmt: off
_COLUMNS = {
    #                                 rank  alpha  targets         unet  text  steps  batch  gamma  dropout  guidance
    #                                       /rank                  rate  rate
    ("sd15", "LORA", "small"): Preset(16,   1.0,   _ATTENTION_MLP, 1e-4, 5e-5, 1000,  8,     0.0,   0.05,    3.0),
    ("sd15", "LORA", "usual"): Preset(16,   1.0,   _ATTENTION_MLP, 1e-4, 5e-5, 1000,  4,     5.0,   0.05,    7.5),
}
# fmt: on

FAMILIES = frozenset(family for family, _, _ in _COLUMNS)


def preset_for(family: str, adapter_type: v1.AdapterType.ValueType, resolution: int) -> Preset:
    """The column for a family, an adapter type and the training resolution in pixels. KeyError if there is none."""
    kind = v1.AdapterType.Name(adapter_type).removeprefix("ADAPTER_TYPE_")
    return _COLUMNS[family, kind, "small" if resolution <= SMALL else "usual"]


def default_resolution(base: v1.BaseModel) -> int:
    """The base model's own, rounded to what a spec may ask for."""
    return max(64, base.resolution // 64 * 64)


def concept_kind(concept: v1.ConceptSpec) -> v1.ConceptKind.ValueType:
    """The kind asked for; AUTO becomes NEW or MODIFIED where tag or class words decide it."""
    if concept.kind not in (v1.CONCEPT_KIND_UNSPECIFIED, v1.CONCEPT_KIND_AUTO):
        return concept.kind
    if concept.activation_tag:
        return v1.CONCEPT_KIND_NEW
    return v1.CONCEPT_KIND_MODIFIED if concept.class_words else v1.CONCEPT_KIND_AUTO


def resolve(asked: v1.TrainingSpec, base: v1.BaseModel, seed: int) -> v1.TrainingSpec:
    """The spec with every unset field filled in. `asked` must be valid; `seed` is taken where it has none."""
    spec = v1.TrainingSpec()
    spec.CopyFrom(asked)
    _default(spec.dataset, "resolution", default_resolution(base))
    _choose(spec.adapter, "type", v1.ADAPTER_TYPE_LORA)
    preset = preset_for(base.family, spec.adapter.type, spec.dataset.resolution)
    _resolve_concept(spec.concept)
    _resolve_dataset(spec.dataset, preset)
    _resolve_adapter(spec, preset)
    _resolve_optimization(spec.optimization, preset, seed)
    _choose(spec.loss, "type", v1.LOSS_TYPE_MSE)
    _default(spec.loss, "min_snr_gamma", preset.min_snr_gamma)
    _resolve_previews(spec.previews, spec.concept, preset)
    if spec.optimization.HasField("steps"):
        _default(spec.checkpoints, "every_steps", max(25, spec.optimization.steps // 10))
    _resolve_outputs(spec)
    return spec


def _default(message: object, field: str, value: object) -> None:
    """Fills an optional field that is not set."""
    if not message.HasField(field):  # type: ignore[attr-defined]
        setattr(message, field, value)


def _choose(message: object, field: str, value: object) -> None:
    """Fills a choice or a text that is empty."""
    if not getattr(message, field):
        setattr(message, field, value)


def _resolve_concept(concept: v1.ConceptSpec) -> None:
    concept.kind = concept_kind(concept)
    prior = concept.prior_preservation
    _default(prior, "enabled", bool(prior.captions or concept.class_words))
    if not prior.enabled:
        return
    if not prior.captions:
        prior.captions.append(concept.class_words)
    _default(prior, "weight", 1.0)
    _default(prior, "ratio", 1.0)
    _default(prior, "images", min(1000, max(16, 2 * len(prior.captions))))


def _resolve_dataset(dataset: v1.DatasetSpec, preset: Preset) -> None:
    _default(dataset, "bucket_step", 8 if dataset.resolution < 512 else 64)
    _default(dataset, "buckets", True)
    _default(dataset, "upscale", False)
    _default(dataset, "flip_probability", 0.0)
    _choose(dataset, "crop", v1.CROP_CENTER)
    if not dataset.subsets:
        dataset.subsets.add()
    for subset in dataset.subsets:
        _default(subset, "repeats", 1)
        captions = subset.captions
        _choose(captions, "source", v1.CAPTION_SOURCE_FILE)
        _default(captions, "shuffle_tags", False)
        _default(captions, "keep_tags", 0)
        _default(captions, "tag_dropout", 0.0)
        fixed = captions.source == v1.CAPTION_SOURCE_FIXED
        _default(captions, "caption_dropout", 0.0 if fixed else preset.caption_dropout)


def _resolve_adapter(spec: v1.TrainingSpec, preset: Preset) -> None:
    adapter = spec.adapter
    _default(adapter, "rank", preset.rank)
    _default(adapter, "alpha", preset.alpha_per_rank * adapter.rank)
    _choose(adapter, "targets", preset.targets)
    if adapter.targets == v1.ADAPTER_TARGETS_ALL:
        _default(adapter, "conv_rank", adapter.rank)
        _default(adapter, "conv_alpha", adapter.alpha)
    _default(adapter, "dropout", 0.0)
    _default(spec.unet, "train", True)
    _default(spec.unet, "learning_rate", preset.unet_rate)
    _default(spec.text_encoder, "train", False)
    _default(spec.text_encoder, "learning_rate", preset.text_encoder_rate)


def _resolve_optimization(optimization: v1.OptimizationSpec, preset: Preset, seed: int) -> None:
    if optimization.WhichOneof("length") is None:
        optimization.steps = preset.steps
    if optimization.HasField("steps"):
        _default(optimization, "warmup_steps", min(100, optimization.steps // 20))
    _default(optimization, "batch_size", preset.batch_size)
    _default(optimization, "gradient_accumulation", 1)
    _choose(optimization, "optimizer", v1.OPTIMIZER_ADAMW)
    _default(optimization, "weight_decay", 0.01)
    _default(optimization, "beta1", 0.9)
    _default(optimization, "beta2", 0.999)
    _choose(optimization, "schedule", v1.SCHEDULE_COSINE)
    _default(optimization, "max_gradient_norm", 1.0)
    _default(optimization, "seed", seed)


def _resolve_previews(previews: v1.PreviewSpec, concept: v1.ConceptSpec, preset: Preset) -> None:
    if not previews.prompts:
        subject = "[tag]" if concept.activation_tag else concept.class_words
        kind = f", {concept.class_words}" if concept.activation_tag and concept.class_words else ""
        previews.prompts.add(prompt=subject)
        previews.prompts.add(prompt=subject + kind if kind else f"a picture of {subject}")
    for place, prompt in enumerate(previews.prompts):
        _default(prompt, "seed", place)
    _default(previews, "every_steps", 0)
    _default(previews, "inference_steps", 20)
    _default(previews, "guidance_scale", preset.guidance_scale)


def _resolve_outputs(spec: v1.TrainingSpec) -> None:
    _choose(spec.outputs, "name", "adapter")
    _choose(spec.outputs, "precision", v1.PRECISION_FP32)
    _default(spec.outputs, "save_every", 0)
    _default(spec.outputs, "captions_in_metadata", False)
    _choose(spec, "compute_class", "local")
    if not spec.HasField("deadline"):
        spec.deadline.FromSeconds(DAY_SECONDS)
