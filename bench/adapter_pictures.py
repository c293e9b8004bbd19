"""The same prompts and seeds for every adapter, in one picture: cut from the sheets that were judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from bench.judging import asked, tiles
from deploy.examples.demo.measure import KNOWN, NEW_PROMPTS
from trainer.builtin.shapes import draw

SIDE = 2 * draw.SIZE
GAP, MARGIN, TITLE_WIDTH = 6, 28, 300
LETTERS = 20
LINE = round(LETTERS * 1.3)
PAPER, INK, QUIET = "#ffffff", "#171b21", "#5d6774"

PLACES = [*range(len(draw.COLORS)), *(NEW_PROMPTS + place * len(KNOWN) + place for place in range(len(KNOWN)))]
"""The new shape in every colour, then every known shape, each in another colour: the demo's own choice."""


@dataclass(frozen=True)
class Strip:
    """One adapter."""

    title: str
    sheet: Path
    """The pictures that were judged."""


def comparison(strips: Sequence[Strip]) -> Image.Image:
    """A row for each adapter, a column for each prompt."""
    top = MARGIN + 3 * LINE
    left = [MARGIN + TITLE_WIDTH + place * (SIDE + GAP) for place in range(len(PLACES))]
    made = Image.new("RGB", (left[-1] + SIDE + MARGIN, top + len(strips) * (SIDE + GAP) - GAP + MARGIN), PAPER)
    pen, font = ImageDraw.Draw(made), ImageFont.load_default(LETTERS)
    wanted, _ = asked()
    for x, place in zip(left, PLACES, strict=True):
        wish = wanted[place]
        for line, word in enumerate((wish.shape, wish.color)):
            pen.text((x, MARGIN + line * LINE), word, fill=INK if line == 0 else QUIET, font=font)
    for row, strip in enumerate(strips):
        y = top + row * (SIDE + GAP)
        pen.text((MARGIN, y + (SIDE - LINE) // 2), strip.title, fill=INK, font=font)
        for x, tile in zip(left, tiles(strip.sheet, PLACES), strict=True):
            made.paste(tile.resize((SIDE, SIDE), Image.Resampling.NEAREST), (x, y))
    return made
