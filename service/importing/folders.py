"""A folder, or a file, of this machine, below a root that the operator listed.

It belongs to an operator, but links in it may lead anywhere: every file is resolved, and must lie below a root.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from service.importing import problems
from service.importing.places import Listing, Progress
from service.importing.problems import failed
from service.importing.sources import FileSource

_MOST_FILES = 10_000


class OutsideRoots(Exception):
    """The path does not lie below a root. The message is the rest of a sentence that begins with the address."""


def resolved(source: FileSource, roots: Iterable[Path]) -> Path:
    """The folder or file, links resolved. Raises OutsideRoots, whether anything is there or not: nobody learns what is."""
    path = Path(os.path.realpath(source.path))
    listed = [root.resolve() for root in roots]
    if not is_below(path, listed):
        names = ", ".join(map(str, listed)) or "none: start the service with --import-root DIR"
        raise OutsideRoots(f"does not lie below an import root ({names})")
    return path


def is_below(path: Path, roots: Iterable[Path]) -> bool:
    return any(path.is_relative_to(root) for root in roots)


class FolderPlace:
    """See Place. Nothing is copied: what is fetched is the file itself."""

    def __init__(self, source: FileSource, roots: Sequence[Path]) -> None:
        self._source = source
        self._roots = [root.resolve() for root in roots]
        self._path = Path()

    def listed(self) -> Listing:
        try:
            self._path = resolved(self._source, self._roots)
        except OutsideRoots as error:
            raise failed("OUTSIDE_ROOTS", f"{self._source.uri} {error}.") from error
        if self._path.is_file():
            name = self._path.name
            self._path = self._path.parent
            return Listing(self._source.uri, {name: (self._path / name).stat().st_size}, name)
        if not self._path.is_dir():
            raise failed(
                problems.NOT_FOUND,
                f"{self._source.uri} is no folder and no file; name the folder with model_index.json.",
            )
        return Listing(self._source.uri, {name: _size(self._path / name) for name in _names(self._path)})

    def head(self, name: str, length: int) -> bytes:
        with self.fetch(name, lambda _: None).open("rb") as file:
            return file.read(length)

    def fetch(self, name: str, progress: Progress) -> Path:
        path = Path(os.path.realpath(self._path / name))
        if not is_below(path, self._roots):
            raise failed(
                problems.UNSUITABLE, f"{name} is a link that leads out of the import roots; put a copy in its place."
            )
        if not path.is_file():
            raise failed(problems.UNSUITABLE, f"{name} is no regular file; put one in its place.")
        progress(path.stat().st_size)
        return path

    def done(self) -> None:
        """Nothing was copied."""


def _names(folder: Path) -> list[str]:
    """Relative names of all files, links to folders not followed; those of a folder's own before those below it."""
    names: list[str] = []
    for parent, folders, entries in os.walk(folder):
        folders.sort()
        below = Path(parent).relative_to(folder)
        names += [str(below / name) for name in sorted(entries)]
        if len(names) > _MOST_FILES:
            raise failed(
                problems.TOO_LARGE, f"{folder} holds more than {_MOST_FILES} files; name the base model's own folder."
            )
    return names


def _size(path: Path) -> int:
    """Bytes; 0 for what cannot be looked at, which is told when it is fetched."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
