"""Which files of a folder become a dataset. Nothing is read here but names and kinds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from loramill.errors import FolderError

if TYPE_CHECKING:
    from collections.abc import Iterator

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
CAPTIONS = frozenset({".txt", ".caption"})
METADATA = frozenset({".json", ".jsonl", ".csv", ".toml", ".yaml", ".yml"})

_MAX_PATH_BYTES = 1000
_SHOWN_ENDINGS = "png, jpg, jpeg, webp or bmp"


@dataclass(frozen=True)
class LocalFile:
    """A file to upload: where it lies, and its path in the dataset with `/` between parts."""

    path: Path
    label: str

    @property
    def ending(self) -> str:
        return PurePosixPath(self.label).suffix.lower()


@dataclass(frozen=True)
class Skipped:
    """What is left out, and why in a word or two."""

    label: str
    reason: str


@dataclass(frozen=True)
class Selection:
    """The files of a folder that make a dataset, in order of label, and what was left out."""

    files: tuple[LocalFile, ...]
    skipped: tuple[Skipped, ...]

    @property
    def pictures(self) -> tuple[LocalFile, ...]:
        return tuple(file for file in self.files if file.ending in PICTURES)

    @property
    def captions(self) -> tuple[LocalFile, ...]:
        return tuple(file for file in self.files if file.ending in CAPTIONS)

    @property
    def without_caption(self) -> tuple[LocalFile, ...]:
        """Pictures without a caption file of the same name beside them. Whether that is an error, the spec decides."""
        captioned = {PurePosixPath(file.label).with_suffix("") for file in self.captions}
        return tuple(file for file in self.pictures if PurePosixPath(file.label).with_suffix("") not in captioned)


def select_files(folder: Path) -> Selection:
    """Pictures, captions and text metadata below `folder`. FolderError names everything that makes it unfit at once."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise FolderError(f"The folder {folder} {what}; give a folder with pictures.", [])
    found = list(_walk(folder, ""))
    files = sorted((entry for entry in found if isinstance(entry, LocalFile)), key=lambda file: file.label)
    selection = Selection(tuple(files), tuple(entry for entry in found if isinstance(entry, Skipped)))
    problems = [problem for file in selection.files for problem in _problems_of_label(file.label)]
    if problems:
        raise FolderError(f"The folder {folder} cannot be uploaded; rename these files:", problems)
    if not selection.pictures:
        raise FolderError(f"The folder {folder} has no pictures; it needs files that end in {_SHOWN_ENDINGS}.", [])
    return selection


def _walk(folder: Path, prefix: str) -> Iterator[LocalFile | Skipped]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except PermissionError as error:
        raise FolderError(f"The folder {folder} cannot be read; allow reading it, or move it away.", []) from error
    for entry in entries:
        label = prefix + entry.name
        if entry.name.startswith("."):
            yield Skipped(label, "hidden")
        elif entry.is_symlink():
            yield Skipped(label, "a symbolic link")
        elif entry.is_dir():
            yield from _walk(Path(entry.path), f"{label}/")
        elif not entry.is_file():
            yield Skipped(label, "not a regular file")
        elif Path(entry.name).suffix.lower() in PICTURES | CAPTIONS | METADATA:
            yield LocalFile(Path(entry.path), label)
        else:
            yield Skipped(label, "neither a picture nor a caption")


def _problems_of_label(label: str) -> Iterator[str]:
    """The limits of DatasetFile.path."""
    shown = ascii(label) if len(label) <= 80 else ascii(label[:80]) + "…"
    try:
        size = len(label.encode())
    except UnicodeEncodeError:
        yield f"{shown} is not valid UTF-8"
        return
    if size > _MAX_PATH_BYTES:
        yield f"{shown} has {size} bytes in its path, and at most {_MAX_PATH_BYTES} are allowed"
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in label) or "\\" in label:
        yield f"{shown} has control characters or backslashes in its name"
