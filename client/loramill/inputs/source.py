"""Where pictures come from: something that lists its entries and gives out their contents."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from loramill.inputs.result import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path


class Source(Protocol):
    """A folder, an archive, or a place in a store. Threads may share it."""

    @property
    def title(self) -> str:
        """What it is called in sentences, such as `The folder /home/me/cats`."""
        ...

    @property
    def entries(self) -> Sequence[Entry]:
        """Everything in it, in order of label."""
        ...

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with the source itself, a sentence each; entries may be missing then."""
        ...

    def read(self, label: str, limit: int) -> bytes:
        """The first `limit` bytes of a file."""
        ...

    def file(self, label: str) -> AbstractContextManager[Path]:
        """The file on this disk, for the time of the block."""
        ...


class Together:
    """Several sources as one, each below a folder of its own."""

    def __init__(self, title: str, parts: dict[str, Source], beside: Sequence[Entry] = ()) -> None:
        """`parts` by folder, without its `/`; `beside` are entries that are in none and have no content."""
        self.title = title
        self._parts = parts
        inside = [
            Entry(f"{folder}/{entry.label}", entry.size, entry.kind)
            for folder, part in parts.items()
            for entry in part.entries
        ]
        self.entries = tuple(sorted((*inside, *beside), key=lambda entry: entry.label))
        self.problems = tuple(problem for part in parts.values() for problem in part.problems)

    def read(self, label: str, limit: int) -> bytes:
        part, rest = self._part(label)
        return part.read(rest, limit)

    @contextmanager
    def file(self, label: str) -> Iterator[Path]:
        part, rest = self._part(label)
        with part.file(rest) as path:
            yield path

    def _part(self, label: str) -> tuple[Source, str]:
        for folder, part in self._parts.items():
            if label.startswith(f"{folder}/"):
                return part, label[len(folder) + 1 :]
        raise KeyError(label)
