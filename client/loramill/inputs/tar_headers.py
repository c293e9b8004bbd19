"""A first look at a tar file: headers that would make a reader take up memory without end are found before one reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 512
_LARGEST_HEADER = 1 << 20
"""Bytes of a header that carries names and attributes; readers hold it in memory."""
_CARRIES_NAMES = frozenset(b"xgLKX")
"""Types of members that only describe others: POSIX.1-2001's extended headers, GNU's long names."""


def check_headers(path: Path) -> None:
    """Raises ValueError for a file that is no tar, and for one whose describing headers are larger than any name needs."""
    size, place = path.stat().st_size, 0
    with path.open("rb") as content:
        while place + _BLOCK <= size:
            content.seek(place)
            header = content.read(_BLOCK)
            if not header.strip(b"\0"):
                return
            length = _length(header)
            if header[156] in _CARRIES_NAMES and length > _LARGEST_HEADER:
                raise ValueError(f"a header of {length} bytes describes a file; names need at most {_LARGEST_HEADER}")
            place += _BLOCK + (length + _BLOCK - 1) // _BLOCK * _BLOCK
    if place == 0:
        raise ValueError("it has no content")


def _length(header: bytes) -> int:
    """The member's size in bytes: octal digits, or GNU's base 256 where the first bit is set."""
    field = header[124:136]
    if field[0] & 0x80:
        return int.from_bytes(field, "big") & ((1 << 88) - 1)
    try:
        return int(field.rstrip(b"\0 ") or b"0", 8)
    except ValueError:
        raise ValueError("it is no tar file") from None
