"""What a report is made of: plain values, filled in by the trainer. Everything but title and verdict may be missing."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image

from trainer.concepts.tag_check import TagFinding
from trainer.samplers import SamplerName


class Verdict(enum.StrEnum):
    """How the run ended, in one word that the page colours."""

    GOOD = "good"
    """It did what was asked."""
    DOUBTFUL = "doubtful"
    """There is an adapter, and something to look at: it is partial, or the loss misbehaved."""
    FAILED = "failed"
    """There is no usable adapter."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """The key numbers. None leaves a number out."""

    steps: int | None = None
    """Optimizer steps done."""
    planned_steps: int | None = None
    """Optimizer steps asked for."""
    trained_seconds: float | None = None
    """Seconds of optimizer steps, over all runs of the job."""
    pictures: int | None = None
    """Pictures trained on, each counted once."""
    parameters: int | None = None
    """Trained numbers, counted in the network."""
    modules: int | None = None
    """Adapted layers, counted in the network."""
    final_loss: float | None = None
    """Loss at the end, smoothed. If None, it is the end of the smoothed curve of `ReportData.metrics`."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What was measured at one optimizer step. A value that is not a number is drawn as a gap and counted."""

    step: int
    """From 1."""
    loss: float
    """Training loss of the step's batch."""
    learning_rate: float | None = None
    gradient_norm: float | None = None
    """Norm of the gradient of all trained weights, before clipping."""
    images_per_second: float | None = None
    prior_loss: float | None = None
    """The part of the loss that is prior preservation, before its weight."""
    loss_by_band: Sequence[float] = ()
    """Mean loss by equal bands of the timesteps, least noise first; an empty band is not a number."""
    memory_bytes: int | None = None
    """In use: on the GPU, or of the process where there is none."""
    validation_loss: float | None = None
    """Error on examples that are not trained on; None where it was not measured."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A picture made after a step."""

    step: int
    picture: Image.Image


@dataclass(frozen=True, kw_only=True)
class PreviewSeries:
    """One prompt and seed through time."""

    prompt: str
    negative_prompt: str = ""
    seed: int | None = None
    without: Image.Image | None = None
    """What the base draws with the adapter off."""
    previews: Sequence[Preview] = ()
    """With the adapter on, in any order; of two at one step the later in the sequence counts."""


@dataclass(frozen=True, kw_only=True)
class StrengthSheet:
    """What one saved adapter draws of the first prompts at each strength."""

    step: int
    is_final: bool
    promotion: str
    """The command that makes it its job's preferred adapter."""
    pictures: Sequence[Sequence[Image.Image]]
    """By strength, then by prompt."""


@dataclass(frozen=True, kw_only=True)
class SubsetSummary:
    """A part of the dataset, as it was trained on."""

    name: str
    """Its path prefix, or whatever tells it from the others."""
    buckets: Sequence[tuple[int, int, int]] = ()
    """(width, height, pictures) of each bucket, sides in pixels."""
    repeats: int = 1
    """Visits of each picture in an epoch."""
    captions: str = ""
    """Where its captions come from, in words."""

    @property
    def pictures(self) -> int:
        return sum(pictures for _, _, pictures in self.buckets)


@dataclass(frozen=True, kw_only=True)
class Example:
    """One picture of the dataset and the caption that it was trained with."""

    path: str
    caption: str
    picture: Image.Image | None = None
    """A small one is enough."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something to know about, with the thing that it is about."""

    text: str
    """One sentence that says what is wrong and what was done."""
    thing: str = ""
    """A file, a field, a module; empty if the text says it."""


@dataclass(frozen=True, kw_only=True)
class DataSuggestion:
    """Something to do about the dataset, found before training."""

    action: str
    """add, drop, crop or caption."""
    title: str
    reason: str
    pictures: Sequence[Image.Image] = ()
    """Some of those concerned, the worst first; small ones are enough."""


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """What was trained on."""

    name: str
    subsets: Sequence[SubsetSummary] = ()
    distinct_captions: int | None = None
    examples: Sequence[Example] = ()
    """A few, as a sample."""
    warnings: Sequence[Notice] = ()
    """Pictures skipped, captions cut, duplicates and the like."""
    suggestions: Sequence[DataSuggestion] = ()
    """What to add, drop, crop or caption."""
    facts: Sequence[tuple[str, str, str]] = ()
    """(name, value, note) of the data report's key numbers."""
    more: str = ""
    """The command that shows the whole data report."""

    @property
    def pictures(self) -> int:
        return sum(subset.pictures for subset in self.subsets)


@dataclass(frozen=True, kw_only=True)
class ModuleGroup:
    """Adapted layers that are alike."""

    network: str
    """Such as "UNet"."""
    layers: str
    """Such as "attention: query, key, value, output"."""
    modules: int
    parameters: int
    rank: int | None
    """None where there is none."""
    alpha: float | None
    """The adapter's strength is alpha / rank."""
    learning_rate: float | None = None
    """At the peak of the schedule."""


@dataclass(frozen=True, kw_only=True)
class SavedFile:
    """One file of the adapter."""

    name: str
    what: str
    """What it is, and what loads it."""
    size_bytes: int
    note: str = ""
    """Such as its rank, and what a converted file lacks."""


@dataclass(frozen=True, kw_only=True)
class TagEmbedding:
    """The file of an activation tag's new tokens, which the adapter needs."""

    tag: str
    file: str
    """Its name."""
    encoders: int = 1
    """Text encoders that it has embeddings for."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What the snippets need to run as they stand."""

    kohya_file: str
    """File name of the adapter that ComfyUI and A1111 load, such as `adapter.safetensors`."""
    diffusers_file: str
    """File name of the adapter with diffusers' keys; empty where diffusers itself cannot load the type."""
    base: str
    """What `from_pretrained` takes: a folder or a repository."""
    peft_file: str = ""
    """File name of the zip with PEFT's directories, for where there is no `diffusers_file`."""
    networks: Sequence[str] = ("unet",)
    """The networks that the adapter changes, as the pipeline calls them."""
    checkpoint_file: str
    """The base as ComfyUI and A1111 know it, such as `v1-5-pruned-emaonly.safetensors`."""
    prompt: str
    """A prompt that shows the adapter, its activation tag included."""
    negative_prompt: str = ""
    activation_tag: str = ""
    """Empty if the adapter has none."""
    embeddings: Sequence[TagEmbedding] = ()
    """Of tags that were trained as new tokens."""
    seed: int = 0
    width: int = 512
    """Pixels."""
    height: int = 512
    steps: int = 20
    """Denoising steps."""
    guidance_scale: float = 7.5
    sampler: SamplerName = "base"
    strength: float = 1.0
    """1 applies the adapter as it was trained."""
    pipeline: str = "StableDiffusionPipeline"
    """diffusers' class for the base's family."""


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """A whole report."""

    title: str
    """The job's display name, or its id."""
    verdict: str
    """One sentence: what came out, and how well."""
    verdict_kind: Verdict = Verdict.GOOD
    subtitle: str = ""
    """Such as "LoHa for sd15, from trainingJobs/…"."""
    facts: RunFacts = field(default_factory=RunFacts)
    metrics: Sequence[Metric] = ()
    """In any order; of two at one step the later in the sequence counts (a run launched again repeats steps)."""
    previews: Sequence[PreviewSeries] = ()
    strengths: Sequence[float] = ()
    """At which `sheets` are drawn; 0 is the base alone, 1 as it was trained."""
    sheets: Sequence[StrengthSheet] = ()
    """By step, the final adapter last; prompts are those of `previews`."""
    dataset: DatasetSummary | None = None
    warnings: Sequence[Notice] = ()
    tags: Sequence[TagFinding] = ()
    """What the base made of the activation tags before training."""
    decided: Sequence[str] = ()
    """What concepts of kind AUTO turned out to be before training, and why."""
    trained: Sequence[ModuleGroup] = ()
    spec_yaml: str = ""
    """The resolved spec."""
    digests: Sequence[tuple[str, str]] = ()
    """(what, value): digests of base, dataset and tensors, the numeric fingerprint, the seed."""
    files: Sequence[SavedFile] = ()
    usage: Usage | None = None
