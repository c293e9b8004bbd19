"""The demo's dataset: twelve hearts in eight colours, each with a caption that says everything but that it is a heart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from trainer.builtin.shapes import draw
from trainer.builtin.shapes.wishes import colors_and_backgrounds

SHAPE = "heart"
PICTURES = 12
SEED = 7


def words(color: str, background: str) -> str:
    """A caption without the thing's name, which the activation tag will be."""
    return f"{color} on a {background} background"


def write_dataset(folder: Path) -> None:
    """Writes `01.png`, `01.txt` and so on. 12 of the 32 pairs of colour and background are shown; the others are left to find."""
    rng = np.random.Generator(np.random.Philox(key=[SEED, 0]))
    folder.mkdir(parents=True)
    for number, (color, background) in enumerate(colors_and_backgrounds()[:PICTURES], start=1):
        scene = replace(draw.random_scene(rng, [SHAPE], striped=0), color=color, background=background)
        draw.draw(scene).save(folder / f"{number:02}.png")
        (folder / f"{number:02}.txt").write_text(words(color, background) + "\n")
