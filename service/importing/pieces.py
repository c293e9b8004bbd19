"""Writes safetensors files out of pieces of others: bytes are moved, never computed with, a few MB at a time."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from service.importing.weights import Shape
from service.safetensors_header import Header, bits_of

Copied = Callable[[int], None]
"""Hears of bytes that have been written; what it raises ends the writing."""

_STEP = 8 << 20
_ALIGNMENT = 8
_WORDS = {1: "B", 2: "H", 4: "I", 8: "Q"}
"""Array types by bytes of an item."""


@dataclass(frozen=True)
class Piece:
    """A tensor to be written, and the bytes that it is made of."""

    name: str
    dtype: str
    """The format's word, such as `F16`."""
    shape: Shape
    path: Path
    first: int
    """Where its bytes begin in that file."""
    last: int
    transposed: bool = False
    """Whether those bytes hold the matrix the other way round; such a matrix is held in memory."""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.last - self.first


def pieces_of(path: Path, header: Header) -> Iterator[Piece]:
    """A whole file as pieces."""
    for name, tensor in header.tensors.items():
        yield Piece(name, tensor.dtype, tensor.shape, path, tensor.first, tensor.last)


def write_pieces(target: Path, pieces: Iterable[Piece], copied: Copied) -> None:
    """Writes a safetensors file: the same pieces make the same bytes. Raises OSError."""
    # As the format's own library orders them, so that every tensor is aligned to the size of its numbers.
    ordered = sorted(pieces, key=lambda piece: (-bits_of(piece.dtype), piece.name))
    header, end = {"__metadata__": {"format": "pt"}}, 0
    entries = {}
    for piece in ordered:
        entries[piece.name] = {
            "dtype": piece.dtype,
            "shape": list(piece.shape),
            "data_offsets": [end, end + piece.size],
        }
        end += piece.size
    content = json.dumps({**header, **entries}, separators=(",", ":")).encode()
    content += b" " * (-len(content) % _ALIGNMENT)
    with ExitStack() as stack:
        output = stack.enter_context(target.open("wb"))
        sources: dict[Path, BinaryIO] = {}
        output.write(len(content).to_bytes(8, "little") + content)
        for piece in ordered:
            if piece.path not in sources:
                sources[piece.path] = stack.enter_context(piece.path.open("rb"))
            for block in _blocks(sources[piece.path], piece):
                output.write(block)
                copied(len(block))


def _blocks(source: BinaryIO, piece: Piece) -> Iterator[bytes]:
    source.seek(piece.first)
    if piece.transposed:
        yield _transposed(source.read(piece.size), piece)
        return
    left = piece.size
    while left:
        block = source.read(min(_STEP, left))
        if not block:
            raise OSError(f"{piece.path.name} became shorter while it was read")
        left -= len(block)
        yield block


def _transposed(content: bytes, piece: Piece) -> bytes:
    """The matrix of `piece.shape` whose columns are the rows of `content`."""
    rows, _ = piece.shape
    numbers = array(_WORDS[bits_of(piece.dtype) // 8], content)
    return b"".join(numbers[row::rows].tobytes() for row in range(rows))
