"""The contact sheet: the same prompts and seeds without and with the adapter, side by side, as one picture."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from trainer.report.pictures import plain
from trainer.report.text import one_line

MARGIN = 36
"""Pixels around the sheet."""
PAIR_GAP = 8
"""Pixels between the two pictures of a row."""
COLUMN_GAP = 40
ROW_GAP = 22
LABEL_GAP = 7
LABEL_LINES = 2
"""A label that is longer ends in "…"; the report has all of it."""

LETTERS = 15
"""Least height of letters, in pixels; they grow with the pictures, so that a reduced sheet stays readable."""
TITLE_FACTOR = 1.85
"""Height of the title's letters, as a multiple of the others'."""

PAPER, INK, QUIET, RULE = "#ffffff", "#171b21", "#5d6774", "#d3d9e0"

ENLARGE_BELOW = 256
"""Pictures whose larger side is below this are enlarged by a whole factor, each pixel becoming a square."""
LARGEST_SIDE = 384
"""Larger pictures are reduced, so that a sheet of many stays a file that opens."""
WANTED_ASPECT = 1.4
"""Width to height that the number of columns aims at."""


@dataclass(frozen=True)
class SheetRow:
    """One prompt and seed: what the base draws, and what it draws with the adapter."""

    label: str
    before: Image.Image
    after: Image.Image


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where things stand, in pixels. A column is a pair of cells with a label above it."""

    cell: tuple[int, int]
    columns: int
    letters: int
    lines: int
    top: int

    @property
    def column_width(self) -> int:
        return 2 * self.cell[0] + PAIR_GAP

    @property
    def label_height(self) -> int:
        return self.lines * _line_height(self.letters) + LABEL_GAP

    @property
    def row_height(self) -> int:
        return self.label_height + self.cell[1] + ROW_GAP

    def size(self, rows: int) -> tuple[int, int]:
        width = 2 * MARGIN + self.columns * (self.column_width + COLUMN_GAP) - COLUMN_GAP
        return width, self.top + math.ceil(rows / self.columns) * self.row_height - ROW_GAP + MARGIN

    def corner(self, index: int) -> tuple[int, int]:
        """Upper left corner of a row: rows run from left to right, then down."""
        down, right = divmod(index, self.columns)
        return MARGIN + right * (self.column_width + COLUMN_GAP), self.top + down * self.row_height


def contact_sheet(
    rows: Sequence[SheetRow],
    title: str,
    *,
    columns: int | None = None,
    before_heading: str = "without adapter",
    after_heading: str = "with adapter",
) -> Image.Image:
    """The sheet (RGB). `columns` is the number of pairs beside each other; by default the sheet is wider than high.

    Raises ValueError where there is no row or no column.
    """
    if not rows:
        raise ValueError("A contact sheet has no rows; give it at least one pair of pictures.")
    if columns is not None and columns < 1:
        raise ValueError(f"A contact sheet has {columns} columns; it needs at least 1.")
    pairs = [(_at_size(row.before, len(rows)), _at_size(row.after, len(rows))) for row in rows]
    cell = (
        max(picture.width for pair in pairs for picture in pair),
        max(picture.height for pair in pairs for picture in pair),
    )
    columns = min(columns or _columns(cell, len(rows)), len(rows))
    letters = max(LETTERS, cell[0] * LETTERS // ENLARGE_BELOW)
    labels = [_wrapped(row.label, 2 * cell[0] + PAIR_GAP, letters) for row in rows]
    width = columns * (2 * cell[0] + PAIR_GAP + COLUMN_GAP) - COLUMN_GAP
    heading = _wrapped(title, width, _title_size(letters))
    layout = _Layout(
        cell=cell,
        columns=columns,
        letters=letters,
        lines=max(len(label) for label in labels),
        top=MARGIN + len(heading) * _line_height(_title_size(letters)) + 12 + _line_height(letters) + 16,
    )
    sheet = Image.new("RGB", layout.size(len(rows)), PAPER)
    _draw_headings(sheet, layout, heading, (before_heading, after_heading))
    for index, (label, pair) in enumerate(zip(labels, pairs, strict=True)):
        _draw_row(sheet, layout, index, label, pair)
    return sheet


def _draw_headings(sheet: Image.Image, layout: _Layout, title: Sequence[str], headings: tuple[str, str]) -> None:
    pen = ImageDraw.Draw(sheet)
    y = MARGIN
    for line in title:
        pen.text((MARGIN, y), line, fill=INK, font=_font(_title_size(layout.letters)))
        y += _line_height(_title_size(layout.letters))
    y += 12
    for column in range(layout.columns):
        x, _ = layout.corner(column)
        for place, heading in enumerate(headings):
            shown = _wrapped(heading, layout.cell[0], layout.letters, most=1)
            left = x + place * (layout.cell[0] + PAIR_GAP)
            pen.text((left, y), "".join(shown), fill=QUIET, font=_font(layout.letters))
        under = y + _line_height(layout.letters) + 3
        pen.line((x, under, x + layout.column_width - 1, under), fill=RULE, width=2)


def _draw_row(
    sheet: Image.Image, layout: _Layout, index: int, label: Sequence[str], pair: tuple[Image.Image, Image.Image]
) -> None:
    pen = ImageDraw.Draw(sheet)
    x, y = layout.corner(index)
    # Labels stand on their pictures: a short one leaves its room above, not below.
    text_y = y + (layout.lines - len(label)) * _line_height(layout.letters)
    for line in label:
        pen.text((x, text_y), line, fill=INK, font=_font(layout.letters))
        text_y += _line_height(layout.letters)
    for place, picture in enumerate(pair):
        left = x + place * (layout.cell[0] + PAIR_GAP) + (layout.cell[0] - picture.width) // 2
        top = y + layout.label_height + (layout.cell[1] - picture.height) // 2
        # One pixel outside the picture, so that a white one has an edge and none of its own is painted over.
        pen.rectangle((left - 1, top - 1, left + picture.width, top + picture.height), outline=RULE)
        sheet.paste(picture, (left, top))


def _at_size(picture: Image.Image, rows: int) -> Image.Image:
    """The picture as the sheet shows it: small ones enlarged (less where there are many), large ones reduced."""
    side = max(picture.size)
    wanted = ENLARGE_BELOW if rows <= 12 else 192 if rows <= 24 else 128
    picture = plain(picture)
    if side < ENLARGE_BELOW:
        factor = max(1, wanted // side)
        return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    if side > LARGEST_SIDE:
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    return picture


def _columns(cell: tuple[int, int], rows: int) -> int:
    """How many columns come nearest to the wanted aspect; of equals, the one with the fewest empty places."""

    def badness(columns: int) -> tuple[float, int]:
        down = math.ceil(rows / columns)
        wide = columns * (2 * cell[0] + PAIR_GAP + COLUMN_GAP)
        high = down * (cell[1] + ROW_GAP + LABEL_GAP + _line_height(LETTERS))
        empty = columns * down - rows
        return abs(math.log(wide / high / WANTED_ASPECT)) + empty / rows, empty

    return min(range(1, rows + 1), key=badness)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow."""
    return ImageFont.load_default(size)


def _line_height(size: int) -> int:
    return round(size * 1.35)


def _title_size(letters: int) -> int:
    return round(letters * TITLE_FACTOR)


@lru_cache(maxsize=4096)
def _drawable(character: str) -> str:
    """The character if the font has it; else its plain letter ("e" for "é"); else its code, such as "\\u732b"."""
    font = _font(LETTERS)
    missing = font.getmask("\U0010fffd")

    def has(text: str) -> bool:
        mask = font.getmask(text)
        return mask.size != missing.size or bytes(mask) != bytes(missing)

    if character == " " or has(character):
        return character
    if unicodedata.category(character) == "Pd":
        return "-"
    base = unicodedata.normalize("NFKD", character)[0]
    if base != character and base.isprintable() and has(base):
        return base
    return f"\\u{ord(character):04x}" if ord(character) <= 0xFFFF else f"\\U{ord(character):08x}"


def _wrapped(text: str, width: int, size: int, most: int = LABEL_LINES) -> list[str]:
    """The text in at most `most` lines of at most `width` pixels; words break where they must. Never empty."""
    font = _font(size)
    composed = unicodedata.normalize("NFC", one_line(text))
    lines = [""]
    for word in "".join(_drawable(character) for character in composed).split(" "):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if font.getlength(joined) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if len(lines) > most:
                break
            if font.getlength(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
        if len(lines) > most:
            break
    if len(lines) > most:
        last = lines[most - 1]
        while last and font.getlength(last + "…") > width:
            last = last[:-1]
        lines = [*lines[: most - 1], last.rstrip() + "…"]
    return lines
