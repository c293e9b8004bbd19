"""Assignment → `TrainConfig`. The sole reader of the messages.

An assignment carries a resolved spec. Fields that are missing or that this version cannot do are all named at once.
"""

from __future__ import annotations

from datetime import UTC
from typing import Literal, TypeVar, cast

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from loramill import v1
from trainer.config import (
    AdapterConfig,
    AdapterTypeName,
    DyloraConfig,
    LayerRule,
    LokrConfig,
    NetworkConfig,
    OptimizationConfig,
    PrecisionName,
    PreviewConfig,
    PreviewPrompt,
    PriorConfig,
    ScheduleName,
    Targets,
    TrainConfig,
)
from trainer.data.rules import CaptionRules, PictureRules, SubsetRules
from trainer.errors import UserError

T = TypeVar("T")

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
_SCHEDULES: dict[int, ScheduleName] = {
    v1.SCHEDULE_CONSTANT: "constant",
    v1.SCHEDULE_LINEAR: "linear",
    v1.SCHEDULE_COSINE: "cosine",
}
_PRECISIONS: dict[int, PrecisionName] = {
    v1.PRECISION_FP32: "fp32",
    v1.PRECISION_BF16: "bf16",
    v1.PRECISION_FP16: "fp16",
}
_SOURCES: dict[int, Literal["file", "fixed", "file_or_fixed"]] = {
    v1.CAPTION_SOURCE_UNSPECIFIED: "file",
    v1.CAPTION_SOURCE_FILE: "file",
    v1.CAPTION_SOURCE_FIXED: "fixed",
    v1.CAPTION_SOURCE_FILE_OR_FIXED: "file_or_fixed",
}


class _Reader:
    """Reads fields of a spec and collects what is missing or not possible."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def number(self, message: Message, path: str) -> float:
        name = path.rpartition(".")[2]
        if not message.HasField(name):
            self.problems.append(f"The assignment's spec has no {path}; a resolved spec sets it.")
            return 0
        return cast("float", getattr(message, name))

    def whole(self, message: Message, path: str) -> int:
        return int(self.number(message, path))

    def choice(self, value: int, path: str, choices: dict[int, T]) -> T:
        if value not in choices:
            allowed = ", ".join(str(choice) for choice in choices.values())
            self.problems.append(f"{path} is unset or not supported by this trainer; it can do: {allowed}.")
            return next(iter(choices.values()))
        return choices[value]


def _pictures(spec: v1.DatasetSpec, read: _Reader) -> PictureRules:
    if spec.crop not in (v1.CROP_UNSPECIFIED, v1.CROP_CENTER):
        read.problems.append("dataset.crop is not supported by this trainer; it can do: center.")
    resolution = read.whole(spec, "dataset.resolution")
    return PictureRules(
        resolution=resolution,
        bucket_step=spec.bucket_step or (64 if resolution >= 512 else 8),
        buckets=spec.buckets if spec.HasField("buckets") else True,
        upscale=spec.upscale,
        flip_probability=spec.flip_probability,
    )


def _subsets(spec: v1.DatasetSpec, read: _Reader) -> tuple[SubsetRules, ...]:
    subsets = spec.subsets or [v1.SubsetSpec()]
    return tuple(
        SubsetRules(
            path_prefix=subset.path_prefix,
            repeats=subset.repeats if subset.HasField("repeats") else 1,
            captions=CaptionRules(
                source=read.choice(subset.captions.source, "dataset.subsets.captions.source", _SOURCES),
                text=subset.captions.text,
                prefix=subset.captions.prefix,
                suffix=subset.captions.suffix,
                shuffle_tags=subset.captions.shuffle_tags,
                keep_tags=subset.captions.keep_tags,
                tag_dropout=subset.captions.tag_dropout,
                caption_dropout=subset.captions.caption_dropout,
            ),
        )
        for subset in subsets
    )


def _prior(concept: v1.ConceptSpec, read: _Reader) -> PriorConfig | None:
    prior = concept.prior_preservation
    captions = tuple(prior.captions) or ((concept.class_words,) if concept.class_words else ())
    if not (prior.enabled if prior.HasField("enabled") else bool(captions)):
        return None
    if not captions:
        read.problems.append(
            "concept.prior_preservation is enabled without captions; give captions or concept.class_words."
        )
    return PriorConfig(
        captions=captions,
        weight=prior.weight if prior.HasField("weight") else 1.0,
        ratio=prior.ratio if prior.HasField("ratio") else 1.0,
        images=prior.images if prior.HasField("images") else max(16, 2 * len(captions)),
    )


def _optimization(spec: v1.TrainingSpec, read: _Reader) -> OptimizationConfig:
    given = spec.optimization
    if given.WhichOneof("length") is None:
        read.problems.append("The assignment's spec has neither optimization.steps nor optimization.epochs; set one.")
    if given.optimizer not in (v1.OPTIMIZER_UNSPECIFIED, v1.OPTIMIZER_ADAMW):
        read.problems.append("optimization.optimizer is not supported by this trainer; it can do: adamw.")
    if given.precision == v1.PRECISION_FP16:
        read.problems.append("optimization.precision fp16 is not supported by this trainer; use bf16 or fp32.")
    return OptimizationConfig(
        steps=given.steps if given.HasField("steps") else None,
        epochs=given.epochs if given.HasField("epochs") else None,
        batch_size=read.whole(given, "optimization.batch_size"),
        gradient_accumulation=given.gradient_accumulation if given.HasField("gradient_accumulation") else 1,
        weight_decay=read.number(given, "optimization.weight_decay"),
        beta1=read.number(given, "optimization.beta1"),
        beta2=read.number(given, "optimization.beta2"),
        schedule=read.choice(given.schedule, "optimization.schedule", _SCHEDULES),
        warmup_steps=given.warmup_steps if given.HasField("warmup_steps") else None,
        max_gradient_norm=read.number(given, "optimization.max_gradient_norm"),
        precision=_PRECISIONS.get(given.precision),
        seed=read.whole(given, "optimization.seed"),
        min_snr_gamma=spec.loss.min_snr_gamma,
    )


def _previews(spec: v1.TrainingSpec, tag: str, read: _Reader) -> PreviewConfig:
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


def _adapter(spec: v1.AdapterSpec, read: _Reader) -> AdapterConfig:
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


def _networks(spec: v1.TrainingSpec, read: _Reader) -> tuple[NetworkConfig, NetworkConfig]:
    unet = NetworkConfig(
        train=spec.unet.train if spec.unet.HasField("train") else True,
        learning_rate=read.number(spec.unet, "unet.learning_rate"),
    )
    text_encoder = NetworkConfig(
        train=spec.text_encoder.train,
        learning_rate=read.number(spec.text_encoder, "text_encoder.learning_rate") if spec.text_encoder.train else 0,
    )
    if not (unet.train or text_encoder.train):
        read.problems.append("Neither unet.train nor text_encoder.train is set, so nothing would be trained; set one.")
    return unet, text_encoder


def read_config(assignment: v1.Assignment) -> TrainConfig:
    """The configuration of an assignment; raises UserError with everything that it lacks."""
    spec, read = assignment.spec, _Reader()
    unet, text_encoder = _networks(spec, read)
    tag = spec.concept.activation_tag
    config = TrainConfig(
        job=assignment.training_job.removeprefix("trainingJobs/"),
        title=spec.display_name,
        launch=assignment.launch,
        family=assignment.base_model.family,
        created=assignment.job_create_time.ToDatetime(tzinfo=UTC),
        activation_tag=tag,
        class_words=spec.concept.class_words,
        subsets=_subsets(spec.dataset, read),
        pictures=_pictures(spec.dataset, read),
        adapter=_adapter(spec.adapter, read),
        unet=unet,
        text_encoder=text_encoder,
        prior=_prior(spec.concept, read),
        optimization=_optimization(spec, read),
        previews=_previews(spec, tag, read),
        checkpoint_every=spec.checkpoints.every_steps if spec.checkpoints.HasField("every_steps") else None,
        output_name=spec.outputs.name or "adapter",
        output_precision=_PRECISIONS.get(spec.outputs.precision, "fp32"),
        converted_rank=spec.outputs.converted_rank if spec.outputs.HasField("converted_rank") else 64,
        save_every=spec.outputs.save_every,
        captions_in_metadata=spec.outputs.captions_in_metadata,
        deadline_seconds=spec.deadline.ToTimedelta().total_seconds() if spec.HasField("deadline") else 86400.0,
        spec=MessageToDict(spec, preserving_proto_field_name=True),
    )
    if read.problems:
        raise UserError(read.problems)
    return config
