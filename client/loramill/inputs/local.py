"""Folders, archives and dataset configurations on this disk as sources."""

from __future__ import annotations

import itertools
import os
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from loramill.errors import InputError
from loramill.inputs.archives import open_archive
from loramill.inputs.kohya_toml import Configuration, image_folders
from loramill.inputs.names import is_archive, is_litter
from loramill.inputs.result import Entry
from loramill.inputs.source import Together
from loramill.inputs.webdataset import shard_folder, shards_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from loramill.inputs.source import Source


class Folder:
    """Files below a folder. Links are listed, and never followed."""

    problems: Sequence[str] = ()

    def __init__(self, folder: Path, *, deep: bool = True) -> None:
        """Raises InputError for what is no readable folder. Without `deep`, folders inside it are not looked into."""
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "does not exist"
            raise InputError(f"{folder} {what}; give a folder with pictures, or an archive of one.", [])
        self.title = f"The folder {folder}"
        self._folder = folder
        self.entries: Sequence[Entry] = tuple(sorted(_walk(folder, "", deep), key=lambda entry: entry.label))

    def read(self, label: str, limit: int) -> bytes:
        with (self._folder / label).open("rb") as content:
            return content.read(limit)

    @contextmanager
    def file(self, label: str) -> Iterator[Path]:
        yield self._folder / label


@contextmanager
def open_local(path: Path) -> Iterator[tuple[Source, Configuration | None]]:
    """The source that a path names: a folder, an archive, a folder of shards, or a dataset configuration with its folders.

    Raises InputError for what is none of these, or cannot be read.
    """
    with ExitStack() as stack:
        try:
            yield _opened(path, stack)
        except PermissionError as error:
            raise InputError(f"{error.filename} cannot be read; allow reading it, or move it away.", []) from error


def _opened(path: Path, stack: ExitStack) -> tuple[Source, Configuration | None]:
    if path.is_file() and path.suffix.lower() == ".toml":
        return _configured(path)
    if path.is_file():
        if not is_archive(path.name):
            raise InputError(
                f"{path} is a file, and no archive that is read; give a folder, a .zip, .tar or .tar.gz, or a .toml.",
                [],
            )
        return stack.enter_context(open_archive(path)), None
    folder = Folder(path)
    shards = shards_of(folder.entries)
    if not shards:
        return folder, None
    parts = {shard_folder(label): stack.enter_context(open_archive(path / label)) for label in shards}
    return Together(folder.title, parts, [entry for entry in folder.entries if entry.label not in shards]), None


def _configured(path: Path) -> tuple[Source, Configuration]:
    """A dataset configuration and the folders that it names, wherever they lie on this disk: it is the user's own.

    Folders below the configuration's keep their relative names; others are called by their last part.
    """
    content, top = path.read_bytes(), path.resolve().parent
    named: dict[str, str] = {}
    parts: dict[str, Source] = {}
    known: dict[Path, str] = {}
    for image_dir in image_folders(content):
        folder = Path(os.path.normpath(top / Path(image_dir).expanduser()))
        if not folder.is_dir():
            continue
        if folder not in known:
            inside = folder.is_relative_to(top) and folder != top
            known[folder] = _free_name(folder.relative_to(top).as_posix() if inside else folder.name, parts)
            parts[known[folder]] = Folder(folder, deep=False)
        named[image_dir] = known[folder]
    return Together(f"The dataset configuration {path}", parts), Configuration(path.name, content, named)


def _free_name(name: str, taken: Container[str]) -> str:
    return next(
        free for free in chain([name], (f"{name}-{count}" for count in itertools.count(2))) if free not in taken
    )


def _walk(folder: Path, prefix: str, deep: bool) -> Iterator[Entry]:
    for entry in os.scandir(folder):
        label = prefix + entry.name
        if entry.is_symlink():
            yield Entry(label, kind="a symbolic link")
        elif entry.is_dir():
            if is_litter(entry.name):
                yield Entry(label)
            elif deep:
                yield from _walk(Path(entry.path), f"{label}/", deep)
            else:
                yield Entry(label, kind="a folder inside an image_dir, which kohya's scripts do not look into")
        elif entry.is_file():
            yield Entry(label, entry.stat().st_size)
        else:
            yield Entry(label, kind="not a regular file")
