"""The demo's measure: what the base draws before and after training, judged over fixed prompts and seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from deploy.examples.demo import dataset
from trainer.builtin.shapes import draw, scoring
from trainer.builtin.shapes.judge import load_judge
from trainer.builtin.shapes.wishes import Wish, wishes
from trainer.report.contact_sheet import SheetRow, contact_sheet

NEW_PROMPTS, KNOWN_PROMPTS = 64, 72
KNOWN = [shape for shape in draw.SHAPES if shape not in draw.HELD_OUT]
JUDGE_PICTURES = 64
"""Pictures of each shape on which the judge is judged."""


@dataclass(frozen=True)
class Shares:
    """How many of some pictures are as asked, 0 to 1."""

    shape: float
    """They show the shape."""
    right: float
    """They show it in the colour that was asked for."""


@dataclass(frozen=True)
class Accuracy:
    """How often the judge names shape and colour, 0 to 1, over all shapes."""

    drawn: float
    reconstructed: float
    """After the base's VAE has encoded and decoded the picture."""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """All that the demo states."""

    judge: Accuracy
    new_before: Shares
    new_after: Shares
    known_before: Shares
    known_after: Shares

    def failures(self) -> list[str]:
        """What did not come out as it must, a sentence each."""
        judge = min(self.judge.drawn, self.judge.reconstructed)
        lost = self.known_before.shape - self.known_after.shape
        before, after = self.new_before.shape, self.new_after.shape
        found = [
            (judge < 0.98, f"The judge is right about {judge:.1%} of pictures that are known; it must be about 98 %."),
            (before > 0.10, f"The base drew hearts for {before:.1%} of prompts before training; 10 % are allowed."),
            (after < 0.80, f"{after:.1%} of prompts gave a heart after training; 80 % must."),
            (lost > 0.05, f"The known shapes lost {100 * lost:.1f} points; 5 are allowed."),
        ]
        return [sentence for failed, sentence in found if failed]

    def explanation(self) -> str:
        return (
            f"{NEW_PROMPTS} prompts of the new word and {KNOWN_PROMPTS} of known ones, each with its own seed, the same before"
            f" and after. The judge is a classifier of {len(draw.SHAPES)} shapes and of what is none; its own accuracy is"
            f" over {JUDGE_PICTURES * len(draw.SHAPES)} pictures of which it is known what they show."
        )


@dataclass(frozen=True)
class Asked:
    """A prompt, and what it should give."""

    wish: Wish
    prompt: str


@dataclass(frozen=True)
class Part:
    """The pictures for some prompts, and what the judge makes of them."""

    pictures: torch.Tensor
    """(N, 3, SIZE, SIZE), in [0, 1]."""
    shares: Shares


@dataclass(frozen=True)
class Drawn:
    """The pictures for all prompts."""

    new: Part
    known: Part


class Measuring:
    """The same prompts and seeds, drawn and judged without and with an adapter."""

    def __init__(self, base: Path, tag: str) -> None:
        self._base, self._judge = base, load_judge()
        self.new = [
            Asked(wish, f"{tag}, {dataset.words(wish.color, wish.background)}")
            for wish in wishes([dataset.SHAPE], NEW_PROMPTS, first_seed=1000)
        ]
        self.known = [Asked(wish, wish.prompt()) for wish in wishes(KNOWN, KNOWN_PROMPTS, first_seed=2000)]

    def accuracy(self) -> Accuracy:
        """The judge's own, on pictures of which it is known what they show."""
        accuracy = scoring.judge_accuracy(self._judge, scoring.load_pipeline(self._base).vae, JUDGE_PICTURES)
        return Accuracy(*(_mean(accuracy[name].values()) for name in ("drawn", "reconstructed")))

    def before(self, between: Callable[[], None] = lambda: None) -> Drawn:
        """Without an adapter, on one core; what `between` raises, called several times a second, ends it."""
        pipeline = scoring.load_pipeline(self._base)
        return Drawn(self._part(self.new, pipeline, between), self._part(self.known, pipeline, between))

    def after(self, adapter: Path) -> Drawn:
        """With an adapter, read by diffusers itself, on two cores."""
        pipelines = [self._adapted(adapter) for _ in range(2)]  # its readers are not made for threads
        with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return Drawn(*pool.map(self._part, (self.new, self.known), pipelines))

    def _adapted(self, adapter: Path) -> StableDiffusionPipeline:
        pipeline = scoring.load_pipeline(self._base)
        pipeline.load_lora_weights(adapter.parent, weight_name=adapter.name)
        # Merged into the layers that it changes, it draws the same pictures in two thirds of the time.
        pipeline.fuse_lora()
        pipeline.unload_lora_weights()
        return pipeline

    def _part(
        self, asked: Sequence[Asked], pipeline: StableDiffusionPipeline, between: Callable[[], None] = lambda: None
    ) -> Part:
        pictures = scoring.sample(pipeline, [one.prompt for one in asked], [one.wish.seed for one in asked], between)
        pairs = [(one.wish, verdict) for one, verdict in zip(asked, self._judge.verdicts(pictures), strict=True)]
        shares = Shares(
            shape=float(np.mean([verdict.shape == wish.shape for wish, verdict in pairs])),
            right=float(np.mean([scoring.fulfilled(wish, verdict) for wish, verdict in pairs])),
        )
        return Part(pictures, shares)


def sheet(measuring: Measuring, before: Drawn, after: Drawn) -> Image.Image:
    """Some of the pictures: the new shape in every colour, then every known shape, each in another colour."""
    new = range(len(draw.COLORS))
    known = [place * len(KNOWN) + place for place in range(len(KNOWN))]
    rows = [*_rows(measuring.new, before.new, after.new, new)]
    rows += _rows(measuring.known, before.known, after.known, known)
    return contact_sheet(
        rows, f"A new word, taught with {dataset.PICTURES} pictures of hearts; and the shapes that the base knew"
    )


def _rows(asked: Sequence[Asked], before: Part, after: Part, places: Iterable[int]) -> Iterator[SheetRow]:
    for place in places:
        label = f"“{asked[place].prompt}”, seed {asked[place].wish.seed}"
        yield SheetRow(label, _image(before.pictures[place]), _image(after.pictures[place]))


def _mean(rows: Iterable[dict[str, float]]) -> float:
    """Over all shapes; each had as many pictures."""
    return float(np.mean([row["shape and color"] for row in rows]))


def _image(picture: torch.Tensor) -> Image.Image:
    return Image.fromarray((picture.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())
