"""The demo's measure: what the base draws before and after training, judged over fixed prompts and seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from deploy.examples.demo import dataset
from trainer.builtin.shapes import draw, scoring
from trainer.builtin.shapes.judge import Verdict, load_judge
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


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """All that the demo states."""

    judge_drawn: float
    """How often the judge names shape and colour, 0 to 1, over all shapes."""
    judge_reconstructed: float
    """The same after the base's VAE has encoded and decoded the picture."""
    new_before: Shares
    new_after: Shares
    known_before: Shares
    known_after: Shares

    def failures(self) -> list[str]:
        """What did not come out as it must, a sentence each."""
        judge = min(self.judge_drawn, self.judge_reconstructed)
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
    """Prompts, what they ask for and what was drawn for them."""

    wishes: Sequence[Wish]
    prompts: Sequence[str]
    before: torch.Tensor
    """(N, 3, SIZE, SIZE), in [0, 1]."""
    after: torch.Tensor

    def row(self, number: int) -> SheetRow:
        label = f"“{self.prompts[number]}”, seed {self.wishes[number].seed}"
        return SheetRow(label, _image(self.before[number]), _image(self.after[number]))


def measure(base: Path, adapter: Path, tag: str) -> tuple[Numbers, Image.Image]:
    """The numbers, and a sheet of some of the pictures that they are counted over."""
    judge, pipeline = load_judge(), scoring.load_pipeline(base)
    accuracy = scoring.judge_accuracy(judge, pipeline.vae, JUDGE_PICTURES)
    new = wishes([dataset.SHAPE], NEW_PROMPTS, first_seed=1000)
    known = wishes(KNOWN, KNOWN_PROMPTS, first_seed=2000)
    asked = [*new, *known]
    prompts = [f"{tag}, {dataset.words(wish.color, wish.background)}" for wish in new] + [
        wish.prompt() for wish in known
    ]
    seeds = [wish.seed for wish in asked]
    before = scoring.sample(pipeline, prompts, seeds)
    pipeline.load_lora_weights(adapter.parent, weight_name=adapter.name)
    after = scoring.sample(pipeline, prompts, seeds)
    shares = [_shares(asked, judge.verdicts(pictures), len(new)) for pictures in (before, after)]
    numbers = Numbers(
        judge_drawn=_mean(accuracy["drawn"].values()),
        judge_reconstructed=_mean(accuracy["reconstructed"].values()),
        new_before=shares[0][0],
        new_after=shares[1][0],
        known_before=shares[0][1],
        known_after=shares[1][1],
    )
    return numbers, _sheet(Asked(asked, prompts, before, after), len(new))


def _shares(asked: Sequence[Wish], verdicts: Sequence[Verdict], new: int) -> tuple[Shares, Shares]:
    """Of the new shape (the first `new` pictures) and of the known ones."""
    shape = [verdict.shape == wish.shape for wish, verdict in zip(asked, verdicts, strict=True)]
    both = [scoring.fulfilled(wish, verdict) for wish, verdict in zip(asked, verdicts, strict=True)]
    return (
        Shares(float(np.mean(shape[:new])), float(np.mean(both[:new]))),
        Shares(float(np.mean(shape[new:])), float(np.mean(both[new:]))),
    )


def _mean(rows: Iterable[dict[str, float]]) -> float:
    """Over all shapes; each had as many pictures."""
    return float(np.mean([row["shape and color"] for row in rows]))


def _sheet(asked: Asked, new: int) -> Image.Image:
    """The new shape in every colour, then every known shape, each in another colour."""
    chosen = [*range(len(draw.COLORS)), *(new + place * len(KNOWN) + place for place in range(len(KNOWN)))]
    return contact_sheet(
        [asked.row(number) for number in chosen],
        f"A new word, taught with {dataset.PICTURES} pictures of hearts; and the shapes that the base knew",
    )


def _image(picture: torch.Tensor) -> Image.Image:
    return Image.fromarray((picture.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())
