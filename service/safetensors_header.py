"""The header of a safetensors file: names, types and shapes, without a single weight. Sizes in the file are never trusted.

The tensors must lie one behind the other and fill the file, as the format demands: else a small file could claim much.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LARGEST_HEADER = 100_000_000
"""Bytes; the format's own limit."""

HEADER_LENGTH_BYTES = 8
"""Bytes before the header, which say how long it is."""
_PIECE = 8 << 20
"""Bytes read at a time."""

# fmt: off
_TYPES = {
    "F64": (64, "float64"), "F32": (32, "float32"), "F16": (16, "float16"), "BF16": (16, "bfloat16"),
    "F8_E4M3": (8, "float8_e4m3fn"), "F8_E5M2": (8, "float8_e5m2"),
    "I64": (64, "int64"), "I32": (32, "int32"), "I16": (16, "int16"), "I8": (8, "int8"),
    "U64": (64, "uint64"), "U32": (32, "uint32"), "U16": (16, "uint16"), "U8": (8, "uint8"), "BOOL": (8, "bool"),
}
"""Bits of a number and torch's name, by the format's word."""
# fmt: on


class HeaderError(Exception):
    """Not a whole safetensors file. The message is the rest of a sentence that begins with the file's name."""


@dataclass(frozen=True)
class Tensor:
    """One tensor, by its entry in the header."""

    dtype: str
    """The format's word, such as `F32`."""
    shape: tuple[int, ...]
    first: int
    """Where its bytes begin, counted from the beginning of the file."""
    last: int
    """Where they end."""


@dataclass(frozen=True)
class Header:
    """Tensors by name."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What whoever saved the file wrote about it; never trusted with more than a hint."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes by name."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    def shape(self, *names: str) -> tuple[int, ...] | None:
        """The shape of the first of these tensors that is there."""
        return next((self.tensors[name].shape for name in names if name in self.tensors), None)

    def has(self, part: str) -> bool:
        """Whether any tensor's name contains this."""
        return any(part in name for name in self.tensors)


def read_header(path: Path, largest: int = LARGEST_HEADER) -> Header:
    """`largest` is in bytes. Raises HeaderError for what is no whole safetensors file, and OSError."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        length = int.from_bytes(file.read(HEADER_LENGTH_BYTES), "little")
        if size < HEADER_LENGTH_BYTES or length > size - HEADER_LENGTH_BYTES:
            raise HeaderError("is no whole safetensors file: its header does not fit; download it again")
        if length > largest:
            raise HeaderError(
                f"has a header of {length} bytes, but at most {largest} are read; save it without its metadata"
            )
        content = file.read(length)
    try:
        header = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise HeaderError("is no safetensors file: its header is not JSON; download it again") from error
    tensors = _tensors(header, HEADER_LENGTH_BYTES + length, size)
    return Header(tensors, _metadata(header))


def bits_of(dtype: str) -> int:
    """Bits of a number, by the format's word."""
    return _TYPES[dtype][0]


def tensors_sha256(path: Path, header: Header) -> str:
    """The digest of Adapter.tensors_sha256, from the file's bytes: name, type, shape and content by order of name.

    Types are called as torch calls them, for the trainer digests tensors in memory. Raises OSError.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for name, tensor in sorted(header.tensors.items()):
            digest.update(f"{name}\x00torch.{_TYPES[tensor.dtype][1]}\x00{tensor.shape}\x00".encode())
            file.seek(tensor.first)
            for start in range(tensor.first, tensor.last, _PIECE):
                digest.update(file.read(min(_PIECE, tensor.last - start)))
    return digest.hexdigest()


def _tensors(header: Any, first_byte: int, size: int) -> dict[str, Tensor]:
    if not isinstance(header, dict):
        raise HeaderError("is no safetensors file: its header is not an object")
    tensors = {name: _entry(name, entry, first_byte) for name, entry in header.items() if name != "__metadata__"}
    end = first_byte
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].first, item[1].last)):
        if tensor.last > size:
            raise HeaderError(f"is cut short: tensor {name[:80]!r} lies behind its end; download it again")
        if tensor.first != end:
            raise HeaderError(f"has tensor {name[:80]!r} in the place of another or behind a gap; save it again")
        end = tensor.last
    if end != size:
        raise HeaderError(
            f"holds {size - first_byte} bytes of tensors, but its header speaks of {end - first_byte}; download it again"
        )
    return tensors


def _metadata(header: Mapping[str, Any]) -> dict[str, str]:
    found = header.get("__metadata__")
    if not isinstance(found, dict):
        return {}
    return {name: text for name, text in found.items() if isinstance(text, str)}


def _entry(name: str, entry: Any, first_byte: int) -> Tensor:
    """One tensor, its shape held against its place."""
    try:
        dtype, shape, (first, last) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        sound = all(type(number) is int and 0 <= number < 2**48 for number in (*shape, first, last)) and len(shape) <= 8
        if not sound or last - first != math.prod(shape) * _TYPES[dtype][0] // 8:
            raise ValueError
    except (KeyError, TypeError, ValueError) as error:
        raise HeaderError(f"has a damaged entry for tensor {name[:80]!r}; download it again") from error
    return Tensor(dtype, shape, first_byte + first, first_byte + last)
