"""A caption longer than a text encoder's window: its tokens in chunks of 75, each framed and padded by itself. Pure.

Every chunk is what the encoder would read if its words were a caption of their own: start, up to 75 tokens, end, and the
tokenizer's padding up to 77. What the encoder makes of the chunks is laid end to end, whole, as ComfyUI and A1111 do when they
draw. (kohya's trainer drops the start and end between chunks and always pads to the largest number of them, so that what is
trained there differs a little from what those programs draw.) The cut is by number alone, as in kohya's trainer: A1111 moves it
back to a comma within 20 tokens, ComfyUI to the beginning of a word.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

ROOM = 75
"""Tokens of a caption in one chunk, beside its start and end."""

LARGEST = 3 * ROOM
"""The most tokens of a caption that a job can ask for."""


def chunk_count(tokens: int, most: int) -> int:
    """Chunks that a caption of so many tokens has, where at most `most` tokens are read; an empty caption has one."""
    return max(1, math.ceil(min(tokens, most) / ROOM))


def chunked(
    tokens: Sequence[int], most: int, *, start: int, end: int, padding: int, count: int | None = None
) -> list[list[int]]:
    """The chunks of a caption's tokens, each of 77 ids; tokens past `most` are cut off.

    `count` asks for at least so many chunks, the last of them empty: two encoders must make as many of one caption.
    """
    kept = tokens[:most]
    number = max(chunk_count(len(tokens), most), count or 1)
    parts = [kept[place * ROOM : (place + 1) * ROOM] for place in range(number)]
    return [[start, *part, end, *[padding] * (ROOM - len(part))] for part in parts]


def common_length(lengths: Sequence[int]) -> int:
    """The length to which texts of these numbers of chunks are repeated, so that they fit into one batch.

    Attention over a text that stands there n times is attention over the text once: each softmax weight is split into n equal
    parts. So no mask is needed, and a short caption is not diluted by padding. (ComfyUI does the same with prompts.)
    """
    return math.lcm(*lengths)
