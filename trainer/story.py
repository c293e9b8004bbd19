"""What a run remembers for its report, and the report made of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import yaml

from loramill import v1
from store import ObjectStore
from store.records import read_record
from trainer.adapter_use import TYPES, files_of, usage_of
from trainer.adapters.adapted_layer import AdaptedLayer
from trainer.concepts.tag_check import TagFinding
from trainer.config import TrainConfig
from trainer.data.dataset import Reading
from trainer.data.order import Order
from trainer.data_report.document import tiles
from trainer.data_report.report import DataReport, thumbnail
from trainer.gallery import Gallery, chosen_saves
from trainer.generations import generation_of_step
from trainer.outputs import FINAL, Saver, numbered
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
    StrengthSheet,
    SubsetSummary,
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
_NETWORKS = {"unet": "UNet", "text_encoder": "text encoder", "text_encoder_2": "second text encoder"}


@dataclass
class Story:
    """Gathered while the run works."""

    config: TrainConfig
    reading: Reading
    warnings: list[str]
    fingerprint: str
    order: Order
    gallery: Gallery
    decided: Sequence[str] = ()
    """What concepts of kind AUTO turned out to be, and why."""
    data_report: DataReport = field(init=False)
    """Set once the run has looked at its data."""
    generation: v1.Generation = field(init=False)
    """In which training goes on; set once that is known."""
    tags: Sequence[TagFinding] = ()
    """What the base makes of the activation tags."""
    metrics: list[v1.TrainingMetric] = field(default_factory=list)

    def told_of_tags(self, tags: Sequence[TagFinding]) -> None:
        """The run has looked at its activation tags."""
        self.tags = tags
        self.warnings.extend(tag.sentence for tag in tags if not tag.is_good)


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
    name = str(story.config.spec.get("dataset", {}).get("dataset", ""))  # type: ignore[attr-defined]
    return DatasetSummary(
        name=name,
        facts=tiles(story.data_report.facts),
        more=f"loramill dataset report {name.removeprefix('datasets/')} --format html",
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
    drawn = story.gallery.plain
    return [
        PreviewSeries(
            prompt=prompt.prompt,
            negative_prompt=prompt.negative_prompt,
            seed=prompt.seed,
            without=drawn[0][place] if 0 in drawn else None,
            previews=[Preview(step=step, picture=drawn[step][place]) for step in sorted(drawn) if step > 0],
        )
        for place, prompt in enumerate(story.config.previews.prompts)
    ]


def _sheets(story: Story, last_step: int) -> list[StrengthSheet]:
    """What numbered adapters and the final one draw at each strength."""
    config, gallery, found = story.config, story.gallery, []
    saves = chosen_saves(config.save_every, last_step) if config.previews.strength_prompts else ()
    for step in (*sorted(saves), last_step):
        pictures = [gallery.at_strength(step, at) for at in range(len(config.previews.strengths))]
        whole = [one for one in pictures if one]
        if whole and len(whole) == len(pictures):
            suffix = FINAL if step == last_step else numbered(step, generation_of_step(step, story.generation))
            found.append(
                StrengthSheet(
                    step=step,
                    is_final=step == last_step,
                    promotion=f"loramill adapter promote {config.job}-{suffix}",
                    pictures=whole,
                )
            )
    return found


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


def write_report(
    story: Story, saver: Saver, steps: int, trained_seconds: float, files: Sequence[v1.AdapterFile]
) -> str:
    """The finished job's report, one HTML file as text; `files` are those beside it."""
    config, provenance, modules = story.config, saver.provenance, saver.adapter.modules
    trained = [*_module_groups(modules), *_new_token_groups(saver.pivotal)]
    pictures, kind = len(story.reading.examples), TYPES[config.adapter.type]
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
                    memory_bytes=metric.memory_bytes if metric.HasField("memory_bytes") else None,
                )
                for metric in story.metrics
            ],
            previews=_previews(story),
            strengths=config.previews.strengths,
            sheets=_sheets(story, steps),
            dataset=_dataset(story),
            warnings=[Notice(text=warning) for warning in story.warnings],
            tags=story.tags,
            decided=story.decided,
            trained=trained,
            spec_yaml=yaml.safe_dump(config.spec, sort_keys=False, allow_unicode=True),
            digests=[
                ("base model", provenance.base_digest),
                ("dataset", provenance.dataset_digest),
                ("adapter's tensors", saver.tensors_digest()),
                ("numeric fingerprint", story.fingerprint),
                ("seed", str(config.optimization.seed)),
            ],
            files=files_of(files),
            usage=usage_of(saver, files),
        )
    )
