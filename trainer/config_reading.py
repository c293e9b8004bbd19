"""Assignment → `TrainConfig`. The sole reader of the messages.

An assignment carries a resolved spec. Fields that are missing or that this version cannot do are all named at once.
"""

from __future__ import annotations

from datetime import UTC
from typing import Literal

from google.protobuf.json_format import MessageToDict

from loramill import v1
from trainer import config_base_reading as of_base
from trainer import config_fitting_reading as fitting
from trainer import config_text_reading as of_text
from trainer.config import (
    AdapterConfig,
    AdapterTypeName,
    DyloraConfig,
    LayerRule,
    LokrConfig,
    PreviewConfig,
    PreviewPrompt,
    PriorConfig,
    Targets,
    TrainConfig,
)
from trainer.config_concepts import ConceptConfig, KindName
from trainer.data.rules import CaptionRules, CropName, MaskSource, PictureRules, SubsetRules
from trainer.errors import UserError
from trainer.samplers import SamplerName
from trainer.spec_reader import Reader

_TARGETS: dict[int, Targets] = {
    v1.ADAPTER_TARGETS_ATTENTION: "attention",
    v1.ADAPTER_TARGETS_ATTENTION_MLP: "attention_mlp",
    v1.ADAPTER_TARGETS_TRANSFORMER: "transformer",
    v1.ADAPTER_TARGETS_ALL: "all",
}
_ADAPTER_TYPES: dict[int, AdapterTypeName] = {
    v1.ADAPTER_TYPE_LORA: "lora",
    v1.ADAPTER_TYPE_LOCON: "locon",
    v1.ADAPTER_TYPE_LOHA: "loha",
    v1.ADAPTER_TYPE_LOKR: "lokr",
    v1.ADAPTER_TYPE_DYLORA: "dylora",
}
_DYLORA_MODES: dict[int, Literal["frozen", "joint"]] = {
    v1.DYLORA_MODE_UNSPECIFIED: "frozen",
    v1.DYLORA_MODE_FROZEN: "frozen",
    v1.DYLORA_MODE_JOINT: "joint",
}
_SAMPLERS: dict[int, SamplerName] = {
    v1.PREVIEW_SAMPLER_BASE: "base",
    v1.PREVIEW_SAMPLER_DDIM: "ddim",
    v1.PREVIEW_SAMPLER_EULER: "euler",
    v1.PREVIEW_SAMPLER_EULER_ANCESTRAL: "euler_ancestral",
    v1.PREVIEW_SAMPLER_HEUN: "heun",
    v1.PREVIEW_SAMPLER_DPM_PLUS_PLUS_2M: "dpm_plus_plus_2m",
    v1.PREVIEW_SAMPLER_DPM_PLUS_PLUS_2M_KARRAS: "dpm_plus_plus_2m_karras",
    v1.PREVIEW_SAMPLER_UNIPC: "unipc",
}
_KINDS: dict[int, KindName] = {
    v1.CONCEPT_KIND_AUTO: "auto",
    v1.CONCEPT_KIND_NEW: "new",
    v1.CONCEPT_KIND_MODIFIED: "modified",
}
_SOURCES: dict[int, Literal["file", "fixed", "file_or_fixed"]] = {
    v1.CAPTION_SOURCE_UNSPECIFIED: "file",
    v1.CAPTION_SOURCE_FILE: "file",
    v1.CAPTION_SOURCE_FIXED: "fixed",
    v1.CAPTION_SOURCE_FILE_OR_FIXED: "file_or_fixed",
}
_CROPS: dict[int, CropName] = {
    v1.CROP_UNSPECIFIED: "center",
    v1.CROP_CENTER: "center",
    v1.CROP_RANDOM: "random",
    v1.CROP_SMART: "smart",
}
_MASKS: dict[int, MaskSource] = {
    v1.MASK_SOURCE_UNSPECIFIED: "none",
    v1.MASK_SOURCE_NONE: "none",
    v1.MASK_SOURCE_ALPHA: "alpha",
    v1.MASK_SOURCE_FILE: "file",
}


def _pictures(spec: v1.DatasetSpec, read: Reader) -> PictureRules:
    resolution = read.whole(spec, "dataset.resolution")
    return PictureRules(
        resolution=resolution,
        bucket_step=spec.bucket_step or (64 if resolution >= 512 else 8),
        buckets=spec.buckets if spec.HasField("buckets") else True,
        upscale=spec.upscale,
        crop=read.choice(spec.crop, "dataset.crop", _CROPS),
        crop_variants=spec.crop_variants if spec.HasField("crop_variants") else 4,
        background=spec.background or "#ffffff",
        masks=read.choice(spec.masks, "dataset.masks", _MASKS),
        mask_folder=spec.mask_folder,
    )


def _subsets(spec: v1.TrainingSpec, read: Reader) -> tuple[SubsetRules, ...]:
    subsets = []
    for subset in spec.dataset.subsets or [v1.SubsetSpec()]:
        place = _concept_of(subset, spec, read)
        concept = (spec.concept, *spec.concepts)[place]
        prior = spec.concept.prior_preservation
        prior_weight = prior.weight if subset.class_images and prior.HasField("weight") else 1.0
        subsets.append(
            SubsetRules(
                path_prefix=subset.path_prefix,
                repeats=subset.repeats if subset.HasField("repeats") else 1,
                captions=_captions(subset.captions, read),
                concept=place,
                activation_tag="" if subset.class_images else concept.activation_tag,
                class_images=subset.class_images,
                weight=(subset.weight if subset.HasField("weight") else 1.0) * prior_weight,
                flip_probability=subset.flip_probability
                if subset.HasField("flip_probability")
                else spec.dataset.flip_probability,
            )
        )
    return tuple(subsets)


def _captions(spec: v1.CaptionSpec, read: Reader) -> CaptionRules:
    return CaptionRules(
        source=read.choice(spec.source, "dataset.subsets.captions.source", _SOURCES),
        text=spec.text,
        prefix=spec.prefix,
        suffix=spec.suffix,
        shuffle_tags=spec.shuffle_tags,
        keep_tags=spec.keep_tags,
        tag_dropout=spec.tag_dropout,
        caption_dropout=spec.caption_dropout,
        separator=spec.separator or ",",
        keep_separator=spec.keep_separator,
        group_separator=spec.group_separator,
        wildcards=spec.wildcards,
        lines_as_alternatives=spec.lines_as_alternatives,
        variants=spec.variants if spec.HasField("variants") else 16,
    )


def _concept_of(subset: v1.SubsetSpec, spec: v1.TrainingSpec, read: Reader) -> int:
    """What a subset's pictures show: the spec's concept, 0, or the place of the one of its further concepts that it names."""
    if not subset.concept:
        return 0
    for place, concept in enumerate((spec.concept, *spec.concepts)):
        if subset.concept == (concept.activation_tag or concept.class_words):
            return place
    read.problems.append(f"A subset names the concept {subset.concept!r}, which the assignment's spec does not have.")
    return 0


def _concept(spec: v1.ConceptSpec) -> ConceptConfig:
    prior = spec.prior_preservation
    return ConceptConfig(
        kind=_KINDS.get(spec.kind, "new" if spec.activation_tag else "modified"),
        activation_tag=spec.activation_tag,
        class_words=spec.class_words,
        prior_preservation=prior.enabled if prior.HasField("enabled") else None,
    )


def _prior(spec: v1.TrainingSpec, read: Reader) -> PriorConfig | None:
    concept = spec.concept
    prior = concept.prior_preservation
    own = _captions_to_keep(concept)
    others = dict.fromkeys(caption for other in spec.concepts for caption in _captions_to_keep(other))
    captions = (*own, *(caption for caption in others if caption not in own))
    if prior.enabled and not own:
        read.problems.append(
            "concept.prior_preservation is enabled without captions; give captions or concept.class_words."
        )
    if not captions:
        return None
    return PriorConfig(
        captions=captions,
        weight=prior.weight if prior.HasField("weight") else 1.0,
        ratio=prior.ratio if prior.HasField("ratio") else 1.0,
        images=prior.images if prior.HasField("images") else max(16, 2 * len(captions)),
    )


def _captions_to_keep(concept: v1.ConceptSpec) -> tuple[str, ...]:
    prior = concept.prior_preservation
    if prior.HasField("enabled") and not prior.enabled:
        return ()
    return tuple(prior.captions) or ((concept.class_words,) if concept.class_words else ())


def _previews(spec: v1.TrainingSpec, tag: str, read: Reader) -> PreviewConfig:
    def said(text: str) -> str:
        return text.replace("[tag]", tag)

    subject = said("[tag]") or spec.concept.class_words
    given = list(spec.previews.prompts) or ([v1.PreviewPrompt(prompt=subject)] * 2 if subject else [])
    return PreviewConfig(
        prompts=tuple(
            PreviewPrompt(
                prompt=said(prompt.prompt),
                negative_prompt=said(prompt.negative_prompt),
                seed=prompt.seed if prompt.HasField("seed") else place,
            )
            for place, prompt in enumerate(given)
        ),
        every_steps=spec.previews.every_steps,
        inference_steps=spec.previews.inference_steps if spec.previews.HasField("inference_steps") else 20,
        guidance_scale=read.number(spec.previews, "previews.guidance_scale"),
        width=spec.previews.width or spec.dataset.resolution,
        height=spec.previews.height or spec.dataset.resolution,
        sampler=read.choice(spec.previews.sampler or v1.PREVIEW_SAMPLER_BASE, "previews.sampler", _SAMPLERS),
        at_steps=tuple(sorted(set(spec.previews.at_steps))),
        strengths=tuple(spec.previews.strengths),
        strength_prompts=spec.previews.strength_prompts,
    )


def _rules(spec: v1.AdapterSpec) -> tuple[LayerRule, ...]:
    return tuple(
        LayerRule(
            pattern=rule.pattern,
            train=rule.train if rule.HasField("train") else True,
            rank=rule.rank if rule.HasField("rank") else None,
            alpha=rule.alpha if rule.HasField("alpha") else None,
            learning_rate=rule.learning_rate if rule.HasField("learning_rate") else None,
        )
        for rule in spec.rules
    )


def _adapter(spec: v1.AdapterSpec, read: Reader) -> AdapterConfig:
    anew = not spec.initial_adapter
    # Full matrices have neither rank nor alpha: their strength is 1.
    has_rank = anew and not spec.lokr.full_matrix
    rank, alpha = (read.whole(spec, "adapter.rank"), read.number(spec, "adapter.alpha")) if has_rank else (1, 1.0)
    return AdapterConfig(
        type=read.choice(spec.type or v1.ADAPTER_TYPE_LORA, "adapter.type", _ADAPTER_TYPES),
        initial=spec.initial_adapter,
        rank=rank,
        alpha=alpha,
        conv_rank=spec.conv_rank if spec.HasField("conv_rank") else rank,
        conv_alpha=spec.conv_alpha if spec.HasField("conv_alpha") else alpha,
        targets=read.choice(spec.targets, "adapter.targets", _TARGETS) if anew else "all",
        dropout=spec.dropout,
        rank_dropout=spec.rank_dropout,
        module_dropout=spec.module_dropout,
        rules=_rules(spec),
        tucker=spec.tucker,
        rank_stabilized=spec.rank_stabilized,
        lora_plus_ratio=spec.lora_plus_ratio if spec.HasField("lora_plus_ratio") else 1.0,
        lokr=LokrConfig(
            factor=spec.lokr.factor if spec.lokr.HasField("factor") else -1,
            full_matrix=spec.lokr.full_matrix,
            decompose_both=spec.lokr.decompose_both,
        ),
        dylora=DyloraConfig(
            unit=spec.dylora.unit if spec.dylora.HasField("unit") else 1,
            mode=read.choice(spec.dylora.mode, "adapter.dylora.mode", _DYLORA_MODES),
        ),
    )


def read_config(assignment: v1.Assignment) -> TrainConfig:
    """The configuration of an assignment; raises UserError with everything that it lacks."""
    spec, read = assignment.spec, Reader()
    networks = of_base.networks(spec, read)
    tag = spec.concept.activation_tag
    config = TrainConfig(
        job=assignment.training_job.removeprefix("trainingJobs/"),
        title=spec.display_name,
        launch=assignment.launch,
        family=assignment.base_model.family,
        created=assignment.job_create_time.ToDatetime(tzinfo=UTC),
        activation_tag=tag,
        class_words=spec.concept.class_words,
        concepts=tuple(_concept(one) for one in (spec.concept, *spec.concepts)),
        subsets=_subsets(spec, read),
        pictures=_pictures(spec.dataset, read),
        adapter=_adapter(spec.adapter, read),
        unet=networks.unet,
        text_encoder=networks.text_encoder,
        text_encoder_2=networks.text_encoder_2,
        clip_skip=spec.clip_skip if spec.HasField("clip_skip") else None,
        prediction_type=of_base.prediction_type(assignment, read),
        zero_terminal_snr=of_base.zero_terminal_snr(assignment),
        prior=_prior(spec, read),
        optimization=fitting.optimization(spec, read),
        loss=fitting.loss(spec.loss, read),
        noise=fitting.noise(spec.noise, read),
        text=of_text.text(spec, read.problems),
        validation=fitting.validation(spec.validation),
        previews=_previews(spec, tag, read),
        checkpoint_every=spec.checkpoints.every_steps if spec.checkpoints.HasField("every_steps") else None,
        output_name=spec.outputs.name or "adapter",
        output_precision=fitting.PRECISIONS.get(spec.outputs.precision, "fp32"),
        converted_rank=spec.outputs.converted_rank if spec.outputs.HasField("converted_rank") else 64,
        save_every=spec.outputs.save_every,
        captions_in_metadata=spec.outputs.captions_in_metadata,
        tensorboard=spec.outputs.tensorboard,
        deadline_seconds=spec.deadline.ToTimedelta().total_seconds() if spec.HasField("deadline") else 86400.0,
        spec=MessageToDict(spec, preserving_proto_field_name=True),
    )
    if read.problems:
        raise UserError(read.problems)
    return config
