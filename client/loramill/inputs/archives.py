"""Zip and tar archives as sources, held to be hostile: names may lead anywhere, sizes may be lies, contents may be bombs.

An archive is judged by its index before anything of it is unpacked, and no content is ever longer than the index says.
"""

from __future__ import annotations

import gzip
import stat
import tarfile
import tempfile
import threading
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from loramill.errors import InputError
from loramill.inputs.names import is_archive, is_litter, is_tar, is_zip, quoted
from loramill.inputs.result import Entry
from loramill.inputs.tar_headers import check_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from loramill.inputs.source import Source


@dataclass(frozen=True)
class Limits:
    """What an archive may be. Training pictures are compressed already, so that they hardly become smaller in one."""

    files: int = 200_000
    total: int = 256 << 30
    """Bytes of everything unpacked."""
    ratio: int = 100
    """Bytes unpacked for each byte packed, of the whole archive and of each file of more than `small`."""
    small: int = 1 << 20
    """Bytes. Captions and drawings may shrink more."""


USUAL = Limits()

_PIECE = 1 << 20
_ENCRYPTED = 0x1
_DAMAGES = (zipfile.BadZipFile, tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError, NotImplementedError, OSError)


@contextmanager
def open_archive(path: Path, limits: Limits = USUAL) -> Iterator[Source]:
    """The archive as a source. Raises InputError for one that cannot be read at all; what is wrong with single members is in
    its `problems`."""
    title = f"The archive {path}"
    with ExitStack() as stack:
        try:
            if is_zip(path.name):
                yield stack.enter_context(_zip(path, title, limits))
                return
            if not is_tar(path.name):
                raise InputError(f"{title} is of a kind that is not read; pack it as .zip, .tar or .tar.gz.", [])
            yield _tar(path, title, limits, stack)
        except _Bomb as bomb:
            raise InputError(f"{title} is not unpacked: {bomb}. Pack the pictures anew.", []) from bomb
        except _Damaged as damage:
            raise InputError(f"{title} is damaged: {damage}. Pack it again.", []) from damage


class _Bomb(Exception):
    """Far more would come out of the archive than pictures can be."""


class _Damaged(Exception):
    """The archive, or a member, cannot be read."""


@dataclass(frozen=True)
class _Member:
    entry: Entry
    packed: int
    """Bytes in the archive."""
    problem: str | None = None


class _Archive:
    """An archive whose index is known; `write` unpacks one member into an open file."""

    def __init__(self, title: str, members: Sequence[_Member], write: Callable[[str, IO[bytes], int], None]) -> None:
        self.title = title
        self._write = write
        self.problems: Sequence[str] = tuple(_problems(members))
        self.entries: Sequence[Entry] = tuple(
            sorted((member.entry for member in members if member.problem is None), key=lambda entry: entry.label)
        )
        self._sizes = {entry.label: entry.size for entry in self.entries}

    def read(self, label: str, limit: int) -> bytes:
        with tempfile.SpooledTemporaryFile(max_size=_PIECE) as content:
            self._write(label, content, min(limit, self._sizes[label]))
            content.seek(0)
            return content.read()

    @contextmanager
    def file(self, label: str) -> Iterator[Path]:
        with tempfile.NamedTemporaryFile(prefix="loramill-") as content:
            self._write(label, content, self._sizes[label])
            content.flush()
            yield Path(content.name)


def _problems(members: Sequence[_Member]) -> Iterator[str]:
    seen: set[str] = set()
    for member in members:
        label = member.entry.label
        if member.problem is not None:
            yield f"{quoted(label)} {member.problem}."
        elif label in seen:
            yield f"{quoted(label)} is in the archive twice; pack it anew, with each file once."
        seen.add(label)


def _check_size(members: Sequence[_Member], packed: int, limits: Limits) -> None:
    if len(members) > limits.files:
        raise _Bomb(f"it has {len(members)} files, more than {limits.files}")
    total = sum(member.entry.size for member in members)
    if total > limits.total:
        raise _Bomb(f"its files have {total} bytes together, more than {limits.total}")
    if total > limits.ratio * packed and total > limits.small:
        raise _Bomb(f"its files have {total} bytes, more than {limits.ratio} times the {packed} bytes of the archive")


def _of_kind(label: str) -> str | None:
    return "is an archive inside the archive; unpack it first" if is_archive(label) else None


@contextmanager
def _zip(path: Path, title: str, limits: Limits) -> Iterator[Source]:
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGES as error:
        raise _Damaged(str(error)) from error
    with archive:
        members = [_zip_member(info, limits) for info in archive.infolist() if not info.is_dir()]
        _check_size(members, path.stat().st_size, limits)

        def write(label: str, target: IO[bytes], size: int) -> None:
            with _told(title, label), archive.open(label) as content:
                _copy(content, target, size)

        yield _Archive(title, members, write)


def _zip_member(info: zipfile.ZipInfo, limits: Limits) -> _Member:
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was not made on Unix
    problem = _of_kind(info.filename)
    if info.flag_bits & _ENCRYPTED:
        problem = "is encrypted; pack it without a password"
    elif kind not in (0, stat.S_IFREG):
        problem = "is a link or another special file; put the picture itself in its place"
    elif info.file_size > limits.small and info.file_size > limits.ratio * info.compress_size:
        problem = f"would become {info.file_size} bytes out of {info.compress_size}, which no picture does; remove it"
    if problem and is_litter(info.filename):
        problem = None
    return _Member(Entry(info.filename, info.file_size), info.compress_size, problem)


def _tar(path: Path, title: str, limits: Limits, stack: ExitStack) -> Source:
    """A packed one is unpacked as a whole first: its members can be reached in order only."""
    plain = path
    if not path.name.lower().endswith(".tar"):
        unpacked = stack.enter_context(tempfile.NamedTemporaryFile(prefix="loramill-"))  # noqa: SIM115
        _gunzip(path, unpacked, limits)
        plain = Path(unpacked.name)
    members, places = _tar_index(plain)
    _check_size(members, path.stat().st_size, limits)
    content = stack.enter_context(plain.open("rb"))
    lock = threading.Lock()

    def write(label: str, target: IO[bytes], size: int) -> None:
        with _told(title, label), lock:
            content.seek(places[label])
            _copy(content, target, size)

    return _Archive(title, members, write)


def _gunzip(path: Path, target: IO[bytes], limits: Limits) -> None:
    most = max(limits.small, min(limits.total, limits.ratio * path.stat().st_size))
    size = 0
    try:
        with gzip.open(path) as packed:
            while piece := packed.read(_PIECE):
                size += len(piece)
                if size > most:
                    raise _Bomb(f"more than {most} bytes come out of its {path.stat().st_size}")
                target.write(piece)
        target.flush()
    except _DAMAGES as error:
        raise _Damaged(str(error)) from error


def _tar_index(path: Path) -> tuple[list[_Member], dict[str, int]]:
    """The members but folders, and where each begins."""
    members, places = [], {}
    try:
        check_headers(path)
        with tarfile.open(path, "r:") as archive:
            for info in archive:
                if info.isdir():
                    continue
                label = info.name.removeprefix("./")
                problem = _of_kind(label)
                if not info.isreg() or info.issparse():
                    problem = "is a link or another special file; put the picture itself in its place"
                members.append(_Member(Entry(label, info.size), info.size, None if is_litter(label) else problem))
                places[label] = info.offset_data
        if any(places[member.entry.label] + member.entry.size > path.stat().st_size for member in members):
            raise _Damaged("it ends before its last file does")
    except (*_DAMAGES, ValueError) as error:
        raise _Damaged(str(error)) from error
    return members, places


def _copy(content: IO[bytes], target: IO[bytes], size: int) -> None:
    while size:
        piece = content.read(min(size, _PIECE))
        if not piece:
            raise _Damaged("it ends early")
        target.write(piece)
        size -= len(piece)


@contextmanager
def _told(title: str, label: str) -> Iterator[None]:
    """Damage of a member, in a sentence that names it."""
    try:
        yield
    except (*_DAMAGES, _Damaged) as error:
        raise InputError(
            f"{title} is damaged: {quoted(label)} cannot be unpacked ({error}). Pack it again.", []
        ) from error
