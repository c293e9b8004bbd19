"""What a base is asked to draw when it is measured: plain data, spread evenly, each wish with a seed of its own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.builtin.shapes import draw


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a prompt asks for, and the seed of its first noise."""

    shape: str
    color: str
    background: str
    seed: int

    def prompt(self, shape_word: str | None = None) -> str:
        """In words; `shape_word` replaces the shape's own, for an activation tag."""
        scene = draw.Scene(shape=self.shape, color=self.color, background=self.background)
        return draw.caption(scene, shape_word=shape_word)


def colors_and_backgrounds() -> list[tuple[str, str]]:
    """All pairs, so ordered that the first few already show every colour and every background."""
    colors, backgrounds = list(draw.COLORS), list(draw.BACKGROUNDS)
    turns = range(len(backgrounds))
    return [(color, backgrounds[(i + turn) % len(backgrounds)]) for turn in turns for i, color in enumerate(colors)]


def wishes(shapes: Sequence[str], count: int, first_seed: int = 0) -> list[Wish]:
    """`count` wishes with seeds from `first_seed`: every shape in one pair of colour and background, then in the next."""
    pairs = itertools.cycle(colors_and_backgrounds())
    wanted = ((shape, *pair) for pair in pairs for shape in shapes)
    return [
        Wish(shape=shape, color=color, background=background, seed=first_seed + number)
        for number, (shape, color, background) in enumerate(itertools.islice(wanted, count))
    ]
