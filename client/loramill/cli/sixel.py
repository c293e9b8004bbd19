"""Pictures as sixels: six rows of pixels at a time, color by color (DEC's VT330/VT340 programmer reference, chapter 14).

Pixels are read by Pillow, which is no need of the client's; `pip install 'loramill[pictures]'` brings it. Only PNGs are opened.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import IO

_COLORS = 128
_RUN = re.compile(r"(.)\1{3,}", re.DOTALL)


def is_possible() -> bool:
    """Whether Pillow is at hand."""
    return find_spec("PIL") is not None


def sixel(content: IO[bytes], size: tuple[int, int]) -> str:
    """The letters that draw a PNG within this (width, height) in pixels."""
    from PIL import Image

    with Image.open(content, formats=["PNG"]) as opened:
        picture = opened.convert("RGB")
    factor = min(size[0] / picture.width, size[1] / picture.height)
    picture = picture.resize((max(1, round(picture.width * factor)), max(1, round(picture.height * factor))))
    few = picture.quantize(_COLORS)
    palette = few.getpalette() or []
    pixels, (width, height) = few.tobytes(), few.size
    parts = [f'\x1bPq"1;1;{width};{height}']
    for color in sorted(set(pixels)):
        red, green, blue = (round(value * 100 / 255) for value in palette[3 * color : 3 * color + 3])
        parts.append(f"#{color};2;{red};{green};{blue}")
    parts += [_band(pixels[top * width : (top + 6) * width], width) for top in range(0, height, 6)]
    return "".join([*parts, "\x1b\\"])


def _band(pixels: bytes, width: int) -> str:
    """Up to six rows of pixels: for each color the columns in which it stands, as bits from top to bottom."""
    by_color: dict[int, bytearray] = {}
    for place, color in enumerate(pixels):
        row, column = divmod(place, width)
        by_color.setdefault(color, bytearray(width))[column] |= 1 << row
    drawn = [f"#{color}{_shortened(bits)}" for color, bits in sorted(by_color.items())]
    return "$".join(drawn) + "-"


def _shortened(bits: bytearray) -> str:
    letters = "".join(chr(63 + six) for six in bits).rstrip("?")
    return _RUN.sub(lambda run: f"!{len(run[0])}{run[1]}", letters)
