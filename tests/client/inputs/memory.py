"""A source in memory, and short ways to write one down."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from loramill.errors import InputError
from loramill.inputs.layouts import read_input
from loramill.inputs.result import Entry, Input


@dataclass
class Memory:
    """Files by label; None is a link."""

    files: dict[str, bytes | str | None]
    title: str = "It"
    problems: tuple[str, ...] = ()

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(
            Entry(label, kind="a symbolic link") if content is None else Entry(label, len(self._bytes(content)))
            for label, content in sorted(self.files.items())
        )

    def read(self, label: str, limit: int) -> bytes:
        return self._bytes(self.files[label])[:limit]

    @contextmanager
    def file(self, label: str) -> Iterator[Path]:
        with tempfile.NamedTemporaryFile() as content:
            content.write(self._bytes(self.files[label]))
            content.flush()
            yield Path(content.name)

    def _bytes(self, content: bytes | str | None) -> bytes:
        return content.encode() if isinstance(content, str) else content or b""


def read(files: dict[str, bytes | str | None], **options: object) -> Input:
    return read_input(Memory(files), **options)  # type: ignore[arg-type]


def captions(found: Input) -> dict[str, str]:
    """The caption files that would be uploaded: by label the text, or where it comes from."""
    return {file.label: file.text if file.text is not None else file.origin for file in found.captions}


def problems(files: dict[str, bytes | str | None], **options: object) -> tuple[str, ...]:
    with pytest.raises(InputError) as raised:
        read(files, **options)
    return raised.value.problems
