"""Reports for the tests: a whole one, and texts that try to break out of it."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from trainer.builtin.shapes.draw import Scene, draw
from trainer.concepts.tag_check import Neighbour, Split, TagFinding
from trainer.report.data import (
    DatasetSummary,
    Example,
    Metric,
    ModuleGroup,
    Notice,
    Preview,
    PreviewSeries,
    ReportData,
    RunFacts,
    SavedFile,
    StrengthSheet,
    SubsetSummary,
    TagEmbedding,
    Usage,
)

HOSTILE = "<script>alert(1)</script>\"><img src=x onerror='alert(2)'></style>{{ 7*7 }}&lt; \u202egnp.exe\x07\x00\ud800 🦊 שלום"
"""Markup, quotes, a template's own braces, a mark that turns the text round, control characters, half a surrogate pair."""


def heart() -> Image.Image:
    return draw(Scene(shape="heart", color="red", background="sky"))


def star() -> Image.Image:
    return draw(Scene(shape="star", color="blue", background="sand"))


def metrics(count: int = 200) -> list[Metric]:
    rng = np.random.default_rng(0)
    return [
        Metric(
            step=step,
            loss=float(rng.gamma(4, 0.25) * (0.02 + 0.1 * math.exp(-step / 50))),
            learning_rate=1e-4 * step / count,
            gradient_norm=float(rng.gamma(6, 1 / 6)),
            images_per_second=38.0,
            memory_bytes=3 << 30,
            prior_loss=0.01,
            loss_by_band=(0.3, math.nan, 0.1, 0.02),
        )
        for step in range(1, count + 1)
    ]


def whole_report(text: str = "a zorp") -> ReportData:
    """Everything that a report can hold, with `text` in every place that a user's text can reach."""
    return ReportData(
        title=text,
        subtitle=text,
        verdict=text,
        facts=RunFacts(steps=200, planned_steps=300, trained_seconds=93.4, pictures=12, parameters=796_992, modules=48),
        metrics=metrics(),
        previews=[
            PreviewSeries(
                prompt=text,
                negative_prompt=text,
                seed=seed,
                without=star(),
                previews=[Preview(step=0, picture=star()), Preview(step=200, picture=heart())],
            )
            for seed in range(2)
        ],
        strengths=(0, 0.5, 1, 1.5),
        sheets=[
            StrengthSheet(
                step=step,
                is_final=step == 200,
                promotion=f"loramill adapter promote 0a1b2c3d4e5f6g7h-{step:06d}",
                pictures=[[star()], [star()], [heart()], [heart()]],
            )
            for step in (100, 200)
        ],
        dataset=DatasetSummary(
            name=text,
            facts=[("near duplicates", "2", text)],
            more=text,
            subsets=[SubsetSummary(name=text, buckets=[(64, 64, 8), (56, 72, 4)], repeats=10, captions=text)],
            distinct_captions=12,
            examples=[Example(path=text, caption=text, picture=heart())],
            warnings=[Notice(thing=text, text=text)],
        ),
        warnings=[Notice(text=text)],
        tags=[
            TagFinding(
                tag=text,
                splits=(Split("text_encoder", (Neighbour(text, text, 0.4),), False),),
                strength=0.01,
                ordinary={text: 0.02},
                made_up={text: 0.005},
                reasons=(text,),
                suggestions=(text,),
            )
        ],
        trained=[
            ModuleGroup(
                network="UNet", layers="attention", modules=48, parameters=796_992, rank=16, alpha=8, learning_rate=1e-4
            ),
            ModuleGroup(
                network="text encoder",
                layers=f"embeddings of 2 new tokens for {text}",
                modules=1,
                parameters=64,
                rank=None,
                alpha=None,
            ),
        ],
        spec_yaml=f"display_name: {text}\n",
        digests=[("base model", "3f" * 32), (text, text)],
        files=[SavedFile(name=text, what=text, size_bytes=12_345, note=text)],
        usage=Usage(
            kohya_file="zorp.safetensors",
            diffusers_file="zorp.diffusers.safetensors",
            base=text,
            checkpoint_file="shapes.safetensors",
            prompt=text,
            negative_prompt=text,
            activation_tag=text,
            embeddings=(TagEmbedding(tag=text, file=text),),
        ),
    )
