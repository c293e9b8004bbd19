"""What can be done with a source, whatever kind it is of: see what is there, and get a file of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

Progress = Callable[[int], None]
"""Hears of bytes that have been read since it was last told; what it raises ends the reading."""


@dataclass(frozen=True)
class Listing:
    """What a source holds, at one moment that will not change any more where the source can promise that."""

    uri: str
    """Its address, with the commit that its revision stood for."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Bytes by name, relative to the source's address."""
    file: str = ""
    """The name, if the address is of one file."""
    license: str = ""
    """As the source states it; empty if it does not."""


class Place(Protocol):
    """One source. Every method may raise ImportFailed."""

    def listed(self) -> Listing: ...

    def head(self, name: str, length: int) -> bytes:
        """The first bytes of the file of that name in the listing; fewer where it ends before."""
        ...

    def fetch(self, name: str, progress: Progress) -> Path:
        """The file of that name in the listing, on this machine. What an earlier call has fetched is used, whole or in part."""
        ...

    def done(self) -> None:
        """Nothing of it is needed any more."""
        ...
