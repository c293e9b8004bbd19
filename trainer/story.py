"""What a run remembers for its report, and the report made of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import yaml

from loramill import v1
from store import ObjectStore
from store.records import read_record
from trainer.adapters.tuner import AdaptedLayer
from trainer.concepts.tag_check import TagFinding
from trainer.config import TrainConfig
from trainer.data.dataset import Reading
from trainer.data.order import Order
from trainer.data_report.report import DataReport, thumbnail
from trainer.outputs import Saver, picture
from trainer.pivotal import Pivotal
from trainer.report.data import (
    DatasetSummary,
    DataSuggestion,
    Metric,
    ModuleGroup,
    Notice,
    Preview,
    PreviewSeries,
    ReportData,
    RunFacts,
    SavedFile,
    SubsetSummary,
    TagEmbedding,
    Usage,
)
from trainer.report.document import render

MOST_SUGGESTED = 8
"""Pictures of a suggestion in the job's report; the data report has more."""
_GROUPS = (
    ("attention: query, key, value, output", re.compile(r"\.attn[12]\.|self_attn")),
    ("feed-forward", re.compile(r"\.ff\.|mlp\.fc")),
    ("transformer projections", re.compile(r"\.proj_(in|out)$")),
    ("residual blocks and resamplers", re.compile(r"")),
)
_CAPTION_SOURCES = {"file": "a file beside each picture", "fixed": "one text", "file_or_fixed": "files, else one text"}
_TYPES = {"lora": "LoRA", "locon": "LoCon", "loha": "LoHa", "lokr": "LoKr", "dylora": "DyLoRA"}
_FORMATS = {
    v1.ADAPTER_FORMAT_KOHYA: "the adapter, for ComfyUI, Forge and A1111; of a plain LoRA for diffusers too",
    v1.ADAPTER_FORMAT_DIFFUSERS: "the same, with diffusers' own keys",
    v1.ADAPTER_FORMAT_PEFT: "the same, as PEFT's directories, zipped",
    v1.ADAPTER_FORMAT_CONVERTED: "converted to a plain LoRA, for programs that load nothing else",
    v1.ADAPTER_FORMAT_TRUNCATED: "the adapter at a smaller rank",
    v1.ADAPTER_FORMAT_EMBEDDING: "the new tokens of an activation tag, which the adapter needs, for all of these programs",
    v1.ADAPTER_FORMAT_CONTACT_SHEET: "the same prompts and seeds without and with the adapter",
}
_NETWORKS = {"unet": "UNet", "text_encoder": "text encoder", "text_encoder_2": "second text encoder"}


@dataclass
class Story:
    """Gathered while the run works."""

    config: TrainConfig
    reading: Reading
    warnings: list[str]
    fingerprint: str
    data_report: DataReport
    order: Order
    tags: Sequence[TagFinding] = ()
    """What the base made of the activation tags before training."""
    previews: dict[int, np.ndarray] = field(default_factory=dict)
    """Pictures by step, (N, side, side, 3) floats in [0, 1]; step 0 is without the adapter."""
    metrics: list[v1.TrainingMetric] = field(default_factory=list)


def read_metrics(runs: ObjectStore, fresh: list[v1.TrainingMetric]) -> list[v1.TrainingMetric]:
    """The measurements of every run of the job and those not stored yet, by step; of a step done twice the later one."""
    keys = [info.key for info in runs.list() if re.fullmatch(r"\d+/metrics/\d+\.json", info.key)]
    by_step: dict[int, v1.TrainingMetric] = {}
    for key in sorted(keys, key=lambda key: (int(key.split("/")[0]), key)):
        chunk = read_record(runs, key, v1.MetricChunk)
        by_step.update((metric.step, metric) for metric in (chunk.metrics if chunk is not None else ()))
    by_step.update((metric.step, metric) for metric in fresh)
    return [by_step[step] for step in sorted(by_step)]


def _module_groups(modules: Sequence[AdaptedLayer]) -> list[ModuleGroup]:
    found: dict[tuple[str, str, int, float, float], list[AdaptedLayer]] = {}
    for module in modules:
        plan = module.plan
        layers = next(name for name, pattern in _GROUPS if pattern.search(f".{plan.path}"))
        key = (plan.network, layers, plan.size.rank, plan.size.alpha, plan.learning_rate)
        found.setdefault(key, []).append(module)
    return [
        ModuleGroup(
            network=_NETWORKS[network],
            layers=layers,
            modules=len(members),
            parameters=sum(member.weights.count for member in members),
            rank=rank,
            alpha=alpha,
            learning_rate=rate,
        )
        for (network, layers, rank, alpha, rate), members in found.items()
    ]


def _dataset(story: Story) -> DatasetSummary:
    subsets = []
    for index, rules in enumerate(story.config.subsets):
        mine = Counter(example.bucket for example in story.reading.examples if example.subset == index)
        subsets.append(
            SubsetSummary(
                name=rules.path_prefix or "all files",
                buckets=[(bucket.width, bucket.height, count) for bucket, count in sorted(mine.items())],
                repeats=rules.repeats,
                captions=_CAPTION_SOURCES[rules.captions.source],
            )
        )
    return DatasetSummary(
        name=str(story.config.spec.get("dataset", {}).get("dataset", "")),  # type: ignore[attr-defined]
        subsets=subsets,
        distinct_captions=len({example.caption for example in story.reading.examples}),
        suggestions=[
            DataSuggestion(
                action=one.action.value,
                title=one.title,
                reason=one.reason,
                pictures=[thumbnail(story.data_report, place) for place in one.pictures[:MOST_SUGGESTED]],
            )
            for one in story.data_report.suggestions
        ],
    )


def _previews(story: Story) -> list[PreviewSeries]:
    after = sorted(step for step in story.previews if step > 0)
    return [
        PreviewSeries(
            prompt=prompt.prompt,
            negative_prompt=prompt.negative_prompt,
            seed=prompt.seed,
            without=picture(story.previews[0][place]) if 0 in story.previews else None,
            previews=[Preview(step=step, picture=picture(story.previews[step][place])) for step in after],
        )
        for place, prompt in enumerate(story.config.previews.prompts)
    ]


def _embeddings(saver: Saver, files: Sequence[v1.AdapterFile]) -> list[TagEmbedding]:
    names = [file.file_name for file in files if file.format == v1.ADAPTER_FORMAT_EMBEDDING]
    return [
        TagEmbedding(tag=one.tag, file=name, encoders=len(rows))
        for name, one, rows in zip(names, saver.pivotal.wanted, saver.pivotal.rows, strict=True)
    ]


def _new_token_groups(pivotal: Pivotal) -> list[ModuleGroup]:
    return [
        ModuleGroup(
            network=_NETWORKS[encoder],
            layers=f"embeddings of {one.tokens} new token{'' if one.tokens == 1 else 's'} for {one.tag}",
            modules=1,
            parameters=values.numel(),
            rank=None,
            alpha=None,
            learning_rate=one.learning_rate,
        )
        for one, rows in zip(pivotal.wanted, pivotal.rows, strict=True)
        for encoder, values in rows.items()
        if encoder in one.encoders
    ]


def _usage(story: Story, saver: Saver, files: Sequence[v1.AdapterFile]) -> Usage:
    config, provenance = story.config, saver.provenance
    prompts = config.previews.prompts
    names = {file.format: file.file_name for file in files}
    peft = names.get(v1.ADAPTER_FORMAT_PEFT, "")
    return Usage(
        kohya_file=f"{config.output_name}.safetensors",
        # What diffusers loads without loss, else PEFT, else with the loss that the list of files states.
        diffusers_file=names.get(
            v1.ADAPTER_FORMAT_DIFFUSERS, "" if peft else names.get(v1.ADAPTER_FORMAT_CONVERTED, "")
        ),
        peft_file=peft,
        networks=list(config.trained),
        pipeline=provenance.family.pipeline,
        base=provenance.base_name,
        checkpoint_file=f"{provenance.base_name}.safetensors",
        prompt=prompts[0].prompt if prompts else config.activation_tag or config.class_words,
        negative_prompt=prompts[0].negative_prompt if prompts else "",
        activation_tag=config.activation_tag,
        embeddings=_embeddings(saver, files),
        seed=prompts[0].seed if prompts else 0,
        width=config.pictures.resolution,
        height=config.pictures.resolution,
        steps=config.previews.inference_steps,
        guidance_scale=config.previews.guidance_scale,
    )


def _files(files: Sequence[v1.AdapterFile]) -> list[SavedFile]:
    return [
        SavedFile(name=file.file_name, what=_FORMATS[file.format], size_bytes=file.size_bytes, note=_note(file))
        for file in files
    ]


def _note(file: v1.AdapterFile) -> str:
    if file.HasField("relative_error"):
        return f"at most rank {file.rank}; lacks {100 * file.relative_error:.2g} % of the change, by its norm"
    return f"rank {file.rank}" if file.rank else ""


def write_report(
    story: Story, saver: Saver, steps: int, trained_seconds: float, files: Sequence[v1.AdapterFile]
) -> str:
    """The finished job's report, one HTML file as text; `files` are those beside it."""
    config, provenance, modules = story.config, saver.provenance, saver.adapter.modules
    trained = [*_module_groups(modules), *_new_token_groups(saver.pivotal)]
    pictures, kind = len(story.reading.examples), _TYPES[config.adapter.type]
    return render(
        ReportData(
            title=config.title or config.job,
            subtitle=f"{kind} for {config.family}, on {provenance.base_name}, from trainingJobs/{config.job}",
            verdict=f"The adapter was trained for {story.order.told(steps)}, and is saved.",
            facts=RunFacts(
                steps=steps,
                planned_steps=provenance.total_steps,
                trained_seconds=trained_seconds,
                pictures=pictures,
                parameters=sum(group.parameters for group in trained),
                modules=len(modules),
            ),
            metrics=[
                Metric(
                    step=metric.step,
                    loss=metric.loss,
                    learning_rate=metric.learning_rate,
                    gradient_norm=metric.gradient_norm,
                    images_per_second=metric.images_per_second,
                    prior_loss=metric.prior_loss if metric.HasField("prior_loss") else None,
                    loss_by_band=list(metric.loss_by_band),
                    validation_loss=metric.validation_loss if metric.HasField("validation_loss") else None,
                )
                for metric in story.metrics
            ],
            previews=_previews(story),
            dataset=_dataset(story),
            warnings=[Notice(text=warning) for warning in story.warnings],
            tags=story.tags,
            trained=trained,
            spec_yaml=yaml.safe_dump(config.spec, sort_keys=False, allow_unicode=True),
            digests=[
                ("base model", provenance.base_digest),
                ("dataset", provenance.dataset_digest),
                ("adapter's tensors", saver.tensors_digest()),
                ("numeric fingerprint", story.fingerprint),
                ("seed", str(config.optimization.seed)),
            ],
            files=_files(files),
            usage=_usage(story, saver, files),
        )
    )
