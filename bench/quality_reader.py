"""Says whether a picture shows a square with an inlay, which the judge of shapes has no word for.

A logistic regression on what the judge's four stages see, fitted to drawn pictures and to what the base's VAE gives back of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from bench.quality_tasks import RESTYLED, inlaid
from trainer.builtin.shapes import draw
from trainer.builtin.shapes.judge import Judge, load_judge
from trainer.builtin.shapes.judge_training import as_tensor, drawn_lookalikes, through

FITTED, CHECKED = 1200, 200
"""Pictures of squares with an inlay, and as many of shapes without, of other shapes with one, and of what is no shape."""
STAGE = 3
"""Modules of one of the judge's stages."""


@dataclass(frozen=True)
class Reader:
    """Fitted."""

    judge: Judge
    weight: torch.Tensor
    """(F,), of features as they are."""
    bias: torch.Tensor

    @torch.no_grad()
    def inlaid(self, pictures: torch.Tensor) -> list[bool]:
        """Of pictures (N, 3, SIZE, SIZE) in [0, 1]."""
        found: list[bool] = ((features(self.judge, pictures) @ self.weight + self.bias) > 0).tolist()
        return found


@torch.no_grad()
def features(judge: Judge, pictures: torch.Tensor) -> torch.Tensor:
    """(N, F): mean, peak and spread of every channel after every stage."""
    x, found = 2 * pictures - 1, []
    for place, module in enumerate(judge.body):
        x = module(x)
        if place % STAGE == STAGE - 1:
            found += [x.mean(dim=(2, 3)), x.amax(dim=(2, 3)), x.std(dim=(2, 3))]
    return torch.cat(found, dim=1)


def examples(vae: Any, count: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Pictures (N, 3, SIZE, SIZE) in [0, 1], half of them through the VAE, and whether each is what is sought."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 3]))
    others = [shape for shape in draw.SHAPES if shape != RESTYLED]
    right = [inlaid(draw.random_scene(rng, [RESTYLED], striped=0)) for _ in range(count)]
    plain = [draw.draw(draw.random_scene(rng, [*draw.SHAPES, *[RESTYLED] * 6], striped=0.3)) for _ in range(count)]
    elsewhere = [inlaid(draw.random_scene(rng, others, striped=0)) for _ in range(count // 2)]
    drawn = torch.cat([as_tensor(right + plain + elsewhere), drawn_lookalikes(rng, count // 2).pictures])
    wanted = np.arange(len(drawn)) < count
    seen = through(vae, drawn[::2])
    return torch.cat([drawn[1::2], seen]).float() / 255, np.concatenate([wanted[1::2], wanted[::2]])


def load_reader(vae: Any, file: Path) -> Reader:
    """Fitted once, from a fixed seed; kept in `file`."""
    judge = load_judge()
    if not file.exists():
        torch.manual_seed(1)
        pictures, wanted = examples(vae, FITTED, seed=1)
        scaler = StandardScaler()
        seen = scaler.fit_transform(torch.cat([features(judge, part) for part in torch.split(pictures, 64)]).numpy())
        fitted = LogisticRegression(C=0.1, max_iter=2000).fit(seen, wanted)
        weight = fitted.coef_[0] / scaler.scale_
        bias = fitted.intercept_[0] - float(weight @ scaler.mean_)
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({"weight": torch.tensor(weight).float(), "bias": torch.tensor(bias).float()}, file)
    kept = load_file(file)
    return Reader(judge, kept["weight"], kept["bias"])


def accuracy(reader: Reader, vae: Any) -> tuple[float, float]:
    """Shares of 1, on pictures that it was not fitted to: of squares with an inlay, and of all else, what is told right."""
    torch.manual_seed(2)
    pictures, wanted = examples(vae, CHECKED, seed=2)
    right = np.array(reader.inlaid(pictures)) == wanted
    return float(right[wanted].mean()), float(right[~wanted].mean())
