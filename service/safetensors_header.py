"""The header of a safetensors file: names, types and shapes, without a single weight. Sizes in the file are never trusted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST_HEADER = 100_000_000
"""Bytes; the format's own limit."""

_LENGTH_BYTES = 8

_BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8,
}  # fmt: skip


class HeaderError(Exception):
    """Not a whole safetensors file. The message is the rest of a sentence that begins with the file's name."""


@dataclass(frozen=True)
class Header:
    """Shapes by tensor name."""

    shapes: Mapping[str, tuple[int, ...]]

    def shape(self, *names: str) -> tuple[int, ...] | None:
        """The shape of the first of these tensors that is there."""
        return next((self.shapes[name] for name in names if name in self.shapes), None)

    def has(self, part: str) -> bool:
        """Whether any tensor's name contains this."""
        return any(part in name for name in self.shapes)


def read_header(path: Path) -> Header:
    """Raises HeaderError for what is no whole safetensors file, and OSError."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if size < _LENGTH_BYTES or length > min(LARGEST_HEADER, size - _LENGTH_BYTES):
            raise HeaderError("is no whole safetensors file: its header does not fit; download it again")
        content = file.read(length)
    try:
        header = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise HeaderError("is no safetensors file: its header is not JSON; download it again") from error
    return Header(_shapes(header, size - _LENGTH_BYTES - length))


def _shapes(header: Any, data_bytes: int) -> dict[str, tuple[int, ...]]:
    if not isinstance(header, dict):
        raise HeaderError("is no safetensors file: its header is not an object")
    shapes, end = {}, 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        shape, first, last = _entry(name, entry)
        if last > data_bytes:
            raise HeaderError(f"is cut short: tensor {name[:80]!r} lies behind its end; download it again")
        shapes[name] = shape
        end = max(end, last)
        if first > last:
            raise HeaderError(f"has tensor {name[:80]!r} that ends before it begins")
    if end != data_bytes:
        raise HeaderError(f"holds {data_bytes} bytes of tensors, but its header speaks of {end}; download it again")
    return shapes


def _entry(name: str, entry: Any) -> tuple[tuple[int, ...], int, int]:
    """Shape and place of one tensor, held against each other."""
    try:
        dtype, shape, (first, last) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        sound = all(type(number) is int and 0 <= number < 2**48 for number in (*shape, first, last)) and len(shape) <= 8
        if not sound or last - first != math.prod(shape) * _BITS[dtype] // 8:
            raise ValueError
    except (KeyError, TypeError, ValueError) as error:
        raise HeaderError(f"has a damaged entry for tensor {name[:80]!r}; download it again") from error
    return shape, first, last
