"""Unpacks a zip that a service sent, held to be hostile: its names may lead anywhere, its sizes may be lies."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from loramill.errors import DownloadError
from loramill.whole_files import whole_file

if TYPE_CHECKING:
    from pathlib import Path

_MOST_FILES = 64
_LARGEST_TOTAL = 8 << 30
"""Bytes of all files together."""
_DEEPEST = 4
"""Parts of a path."""
_PIECE = 2**20
_ENCRYPTED = 1
"""In an entry's flags."""


def unpack(archive: Path, folder: Path, *, overwrite: bool = False) -> None:
    """Unpacks the regular files of `archive` into `folder`, which is made if missing.

    The whole archive is judged before anything is written: a name that leads elsewhere, a link, two files of one name, or more
    than can be an adapter is DownloadError. A file that is there with another content is DownloadError too, unless
    `overwrite`; one with the same content stays as it is.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            files = _files(opened, folder.name)
            if not overwrite:
                _refuse_others(opened, files, folder)
            for target, entry in files.items():
                _write(opened, entry, folder / target)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise DownloadError(f"{folder.name} arrived as a damaged zip: {error}. Download it again.") from error


def _files(archive: zipfile.ZipFile, name: str) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The files by their relative paths."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > _MOST_FILES:
        raise _refused(name, f"it has {len(entries)} files, more than {_MOST_FILES}")
    if sum(entry.file_size for entry in entries) > _LARGEST_TOTAL:
        raise _refused(name, f"its files have more than {_LARGEST_TOTAL} bytes together")
    files: dict[PurePosixPath, zipfile.ZipInfo] = {}
    seen: set[str] = set()
    for entry in entries:
        problem = _problem_of(entry)
        if problem is None and entry.filename.casefold() in seen:
            problem = "is there twice"
        if problem is not None:
            raise _refused(name, f"{entry.filename[:80]!a} {problem}")
        seen.add(entry.filename.casefold())
        files[PurePosixPath(entry.filename)] = entry
    return files


def _problem_of(entry: zipfile.ZipInfo) -> str | None:
    parts = entry.filename.split("/")
    if any(part in ("", ".", "..") or part.startswith(".") or ":" in part or "\\" in part for part in parts):
        return "is no plain relative path"
    if not entry.filename.isprintable() or len(entry.filename) > 200 or len(parts) > _DEEPEST:
        return "is no plain relative path"
    kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 where the archive was not made on Unix
    if kind not in (0, stat.S_IFREG):
        return "is a link or another special file"
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted"
    return None


def _refuse_others(archive: zipfile.ZipFile, files: dict[PurePosixPath, zipfile.ZipInfo], folder: Path) -> None:
    for relative, entry in files.items():
        target = folder / relative
        if target.exists() and not _is_same(archive, entry, target):
            raise DownloadError(
                f"{target} exists with another content. Choose another folder, or overwrite it with --force."
            )


def _is_same(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> bool:
    if not path.is_file() or path.stat().st_size != entry.file_size:
        return False
    with archive.open(entry) as packed, path.open("rb") as there:
        while piece := packed.read(_PIECE):
            if there.read(len(piece)) != piece:
                return False
    return True


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    """zipfile itself checks size and checksum at the end of the entry."""
    with whole_file(target) as content, archive.open(entry) as packed:
        shutil.copyfileobj(packed, content, _PIECE)


def _refused(name: str, what: str) -> DownloadError:
    return DownloadError(f"{name} arrived as a zip that is not unpacked: {what}.")
