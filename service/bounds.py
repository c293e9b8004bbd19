"""The bounds that the protos state, as one table, and a walk that holds a whole spec against it. Pure.

A number field of the spec that has no line here fails a test, so that no bound is forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from loramill import v1
from service.errors import Violation

_LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Range:
    """The numbers that a field may have."""

    low: float
    high: float
    above_low: bool = False
    """Whether `low` itself is excluded."""
    below_high: bool = False
    multiple_of: int = 1
    or_else: int | None = None
    """A number outside the range that has a meaning of its own: 0 for none, -1 for a choice of ours."""

    def holds(self, value: float) -> bool:
        if value == self.or_else:
            return True
        above = value > self.low if self.above_low else value >= self.low
        below = value < self.high if self.below_high else value <= self.high
        return above and below and (self.multiple_of == 1 or value % self.multiple_of == 0)

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.above_low else f"{self.low:.12g}"
        high = f"below {self.high:.12g}" if self.below_high else f"{self.high:.19g}"
        text = f"{low}, at most {high}" if self.above_low else f"{low} to {high}"
        kind = f"a multiple of {self.multiple_of}, " if self.multiple_of > 1 else ""
        return kind + (f"{self.or_else} or " if self.or_else is not None else "") + text


@dataclass(frozen=True)
class Text:
    """The texts that a field may have. An empty text counts as unset."""

    longest: int
    """Characters."""
    pattern: str = r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*"
    says: str = "without control characters"

    def holds(self, value: str) -> bool:
        return len(value) <= self.longest and re.fullmatch(self.pattern, value) is not None

    def __str__(self) -> str:
        return f"at most {self.longest} characters, {self.says}"


_NAME = Text(100, r"[A-Za-z0-9._-]*", "only letters, digits, '.', '_' and '-'")
_TAG = Text(75, r"(?! )[^,\x00-\x1f\x7f]*(?<! )", "without commas, control characters and spaces at its ends")
_CAPTION = Text(1000)
_COLOUR = Text(7, r"(#[0-9a-fA-F]{6})?", "written as #rrggbb")
_SEPARATOR = Text(8, r"([^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*)?", "not only spaces, on one line")

BOUNDS: dict[type[Message], dict[str, Range | Text]] = {
    v1.TrainingSpec: {
        "display_name": Text(200),
        "clip_skip": Range(1, 12),
    },
    v1.ComputeFallback: {
        "compute_classes": Text(63),
    },
    v1.ComputeNeeds: {
        "gpus": Range(0, 16),
        "gpu_memory_gib": Range(0, 1024),
        "max_price_per_hour": Range(0, 1_000_000),
    },
    v1.DatasetSpec: {
        "resolution": Range(64, 2048, multiple_of=64),
        "bucket_step": Range(8, 256, multiple_of=8),
        "flip_probability": Range(0, 1),
        "mask_folder": Text(1000),
        "background": _COLOUR,
        "crop_variants": Range(2, 64),
    },
    v1.SubsetSpec: {
        "path_prefix": Text(1000),
        "repeats": Range(1, 10_000),
        "weight": Range(0, 100, above_low=True),
        "concept": Text(200),
        "flip_probability": Range(0, 1),
    },
    v1.CaptionSpec: {
        "text": _CAPTION,
        "prefix": _CAPTION,
        "suffix": _CAPTION,
        "keep_tags": Range(0, 75),
        "tag_dropout": Range(0, 1),
        "caption_dropout": Range(0, 1),
        "separator": _SEPARATOR,
        "keep_separator": _SEPARATOR,
        "group_separator": _SEPARATOR,
        "variants": Range(1, 256),
    },
    v1.ConceptSpec: {
        "activation_tag": _TAG,
        "class_words": Text(200),
    },
    v1.PivotalSpec: {
        "tokens": Range(0, 8),
        "learning_rate": Range(0, 1, above_low=True),
        "initial_words": Text(200),
    },
    v1.PriorPreservationSpec: {
        "captions": _CAPTION,
        "weight": Range(0, 100),
        "ratio": Range(0.125, 4),
        "images": Range(1, 1000),
    },
    v1.AdapterSpec: {
        "rank": Range(1, 1024),
        "alpha": Range(0, 4096, above_low=True),
        "conv_rank": Range(1, 1024),
        "conv_alpha": Range(0, 4096, above_low=True),
        "dropout": Range(0, 1, below_high=True),
        "rank_dropout": Range(0, 1, below_high=True),
        "module_dropout": Range(0, 1, below_high=True),
        "lora_plus_ratio": Range(1, 64),
    },
    v1.LayerRule: {
        "pattern": Text(300),
        "rank": Range(1, 1024),
        "alpha": Range(0, 4096, above_low=True),
        "learning_rate": Range(0, 1, above_low=True),
    },
    v1.LokrSpec: {
        "factor": Range(2, 128, or_else=-1),
    },
    v1.DyloraSpec: {
        "unit": Range(1, 1024),
    },
    v1.TargetSpec: {
        "learning_rate": Range(0, 1, above_low=True),
    },
    v1.OptimizationSpec: {
        "steps": Range(1, 1_000_000),
        "epochs": Range(1, 10_000),
        "batch_size": Range(1, 256),
        "gradient_accumulation": Range(1, 256),
        "weight_decay": Range(0, 1),
        "beta1": Range(0, 1, below_high=True),
        "beta2": Range(0, 1, below_high=True),
        "warmup_steps": Range(0, 1_000_000),
        "max_gradient_norm": Range(0, 1000),
        "seed": Range(0, _LARGEST_SEED),
        "ema_decay": Range(0.5, 1, below_high=True, or_else=0),
        "schedule_cycles": Range(2, 100),
        "schedule_power": Range(0, 8, above_low=True),
    },
    v1.ValidationSpec: {
        "share": Range(0, 0.5),
        "subset": Text(1000),
        "every_steps": Range(1, 1_000_000),
        "timesteps": Range(1, 64),
        "patience": Range(0, 1000),
    },
    v1.NoiseSpec: {
        "offset": Range(0, 1),
        "input_perturbation": Range(0, 1),
        "pyramid_levels": Range(0, 10),
        "pyramid_discount": Range(0, 1, above_low=True),
        "logit_mean": Range(-4, 4),
        "logit_deviation": Range(0, 4, above_low=True),
        "min_timestep": Range(0, 999),
        "max_timestep": Range(1, 1000),
    },
    v1.FieldSource: {
        "field": Text(1000),
        "source": Text(1000),
    },
    v1.LossSpec: {
        "min_snr_gamma": Range(0.1, 100, or_else=0),
        "soft_min_snr_gamma": Range(0.1, 100, or_else=0),
        "threshold": Range(0.0001, 10),
    },
    v1.PreviewSpec: {
        "every_steps": Range(0, 1_000_000),
        "inference_steps": Range(1, 150),
        "guidance_scale": Range(1, 30),
        "width": Range(64, 2048, multiple_of=8),
        "height": Range(64, 2048, multiple_of=8),
        "at_steps": Range(1, 1_000_000),
        "strengths": Range(0, 4),
        "strength_prompts": Range(0, 64),
    },
    v1.PreviewPrompt: {
        "prompt": _CAPTION,
        "negative_prompt": _CAPTION,
        "seed": Range(0, _LARGEST_SEED),
    },
    v1.CheckpointSpec: {
        "every_steps": Range(1, 1_000_000),
    },
    v1.OutputSpec: {
        "name": _NAME,
        "save_every": Range(0, 1_000_000),
        "converted_rank": Range(1, 1024, or_else=0),
    },
}

COUNTS: dict[type[Message], dict[str, int]] = {
    v1.TrainingSpec: {"concepts": 32},
    v1.ComputeFallback: {"compute_classes": 16},
    v1.DatasetSpec: {"subsets": 1000},
    v1.PriorPreservationSpec: {"captions": 1000},
    v1.AdapterSpec: {"rules": 200},
    v1.PreviewSpec: {"prompts": 64, "at_steps": 100, "strengths": 8},
}


def violations_of_bounds(message: Message, path: str) -> Iterator[Violation]:
    """Every set field of the message, and of the messages in it, held against the tables; in order of field numbers."""
    unknown = UnknownFieldSet(message)
    for number in sorted({unknown[index].field_number for index in range(len(unknown))}):
        text = f"{path} has a field of number {number} that this version does not know; leave it out, or upgrade."
        yield Violation(path, text, "UNKNOWN_FIELD")
    for field, value in message.ListFields():
        yield from _of_field(type(message), field, value, f"{path}.{field.name}")


def _of_field(owner: type[Message], field: FieldDescriptor, value: Any, path: str) -> Iterator[Violation]:
    if field.is_repeated:
        most = COUNTS.get(owner, {}).get(field.name)
        if most is not None and len(value) > most:
            yield Violation(path, f"{path} has {len(value)} entries, but must have at most {most}; remove some.")
            return
        entries = [(f"{path}[{index}]", entry) for index, entry in enumerate(value)]
    else:
        entries = [(path, value)]
    for entry_path, entry in entries:
        yield from _of_value(owner, field, entry, entry_path)


def _of_value(owner: type[Message], field: FieldDescriptor, value: Any, path: str) -> Iterator[Violation]:
    if field.message_type is not None:
        if field.message_type.file.package == "loramill.v1":
            yield from violations_of_bounds(value, path)
    elif field.enum_type is not None:
        yield from _of_choice(field, value, path)
    else:
        bound = BOUNDS.get(owner, {}).get(field.name)
        if bound is not None and not bound.holds(value):
            yield Violation(path, _outside(path, value, bound))


def _of_choice(field: FieldDescriptor, number: int, path: str) -> Iterator[Violation]:
    assert field.enum_type is not None
    prefix = field.enum_type.values[0].name.removesuffix("UNSPECIFIED")
    known = field.enum_type.values_by_number
    names = {value.name.removeprefix(prefix) for value in known.values() if value.number}
    if number not in known:
        text = f"{path} is the number {number}, which this version does not know; choose one of {', '.join(sorted(names))}."
        yield Violation(path, text, "UNKNOWN_VALUE")


def _outside(path: str, value: float | str, bound: Range | Text) -> str:
    if isinstance(value, str):
        shown = repr(value if len(value) <= 60 else f"{value[:57]}…")
        return f"{path} is {shown} ({len(value)} characters), but must be {bound}; change it."
    return f"{path} is {value!r}, but must be {bound}; set it within, or leave it unset for the preset's."
