"""Moves bytes between files and streams of messages, with their digests."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from loramill import v1
from loramill.errors import DownloadError
from loramill.unpacking import unpack
from loramill.whole_files import temporary_file, whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 2**20
"""The most that one message carries."""
_UNTAKEN = re.compile(r"[^A-Za-z0-9._-]+")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def described(path: Path, label: str) -> v1.DatasetFile:
    """What is told of a file before its bytes. If it changes in between, the service refuses it by its digest."""
    return v1.DatasetFile(path=label, sha256=sha256_of(path), size_bytes=path.stat().st_size)


def upload_messages(dataset: str, path: Path, file: v1.DatasetFile) -> Iterator[v1.UploadFileRequest]:
    """The header, then the content."""
    yield v1.UploadFileRequest(header=v1.UploadFileHeader(dataset=dataset, file=file))
    for chunk in _chunks(path):
        yield v1.UploadFileRequest(data=chunk)


def adapter_messages(path: Path, request_id: str) -> Iterator[v1.UploadAdapterRequest]:
    """As `upload_messages`, for an adapter. Signs of its name that the service does not take become `_`."""
    name = _UNTAKEN.sub("_", path.name)
    header = v1.UploadAdapterHeader(
        file_name=name, sha256=sha256_of(path), size_bytes=path.stat().st_size, request_id=request_id
    )
    yield v1.UploadAdapterRequest(header=header)
    for chunk in _chunks(path):
        yield v1.UploadAdapterRequest(data=chunk)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            yield chunk


def save_download(messages: Iterator[v1.DownloadAdapterResponse], folder: Path, *, overwrite: bool = False) -> Path:
    """Writes a download into `folder` under the name that it brings, and returns the path.

    The file gets its name only after size and digest are found right; whatever goes wrong, nothing is left behind. A file of
    that name and content stays as it is; with another content it is DownloadError, unless `overwrite`. PEFT's directories,
    which come as a zip, are unpacked into a folder `<name>.peft`.
    """
    file = _announced(messages)
    promised = _Promised(file.file_name, file.size_bytes, file.sha256)
    target = folder / file.file_name
    if file.format == v1.ADAPTER_FORMAT_PEFT:
        unpacked = folder / f"{target.stem.removesuffix('.peft')}.peft"
        with temporary_file(folder) as archive:
            with archive.open("wb") as content:
                _write(messages, promised, content)
            unpack(archive, unpacked, overwrite=overwrite)
        return unpacked
    if target.exists() and not overwrite:
        if target.is_file() and sha256_of(target) == file.sha256:
            return target
        raise DownloadError(
            f"{target} exists with another content. Choose another folder, or overwrite it with --force."
        )
    with whole_file(target) as content:
        _write(messages, promised, content)
    return target


def _announced(messages: Iterator[v1.DownloadAdapterResponse]) -> v1.AdapterFile:
    """The first message's file; its name is held to be hostile."""
    first = next(messages, None)
    if first is None or first.WhichOneof("payload") != "file":
        raise DownloadError("The service sent no file. Use a client and a service of the same version.")
    _refuse_hostile(first.file.file_name)
    return first.file


def _refuse_hostile(name: str) -> None:
    """Raises DownloadError for what is no plain file name."""
    if not name or name.startswith(".") or PurePosixPath(name).name != name or not name.isprintable() or "\\" in name:
        raise DownloadError(f"The service named the file {name!r}, which is no plain file name; nothing was written.")


def save_result(messages: Iterator[v1.DownloadResultResponse], folder: Path, *, overwrite: bool = False) -> Path:
    """As `save_download`, for a file that a job has made; of its path only the last part counts."""
    first = next(messages, None)
    if first is None or first.WhichOneof("payload") != "file":
        raise DownloadError("The service sent no file. Use a client and a service of the same version.")
    name = first.file.path.rpartition("/")[2]
    _refuse_hostile(name)
    target = folder / name
    if target.exists() and not overwrite:
        if target.is_file() and sha256_of(target) == first.file.sha256:
            return target
        raise DownloadError(
            f"{target} exists with another content. Choose another folder, or overwrite it with --force."
        )
    with whole_file(target) as content:
        _write(messages, _Promised(name, first.file.size_bytes, first.file.sha256), content)
    return target


@dataclass(frozen=True)
class _Promised:
    """What was told of a file before its bytes."""

    name: str
    size_bytes: int
    sha256: str


def _write(
    messages: Iterator[v1.DownloadAdapterResponse] | Iterator[v1.DownloadResultResponse],
    file: _Promised,
    content: IO[bytes],
) -> None:
    digest = hashlib.sha256()
    size = 0
    for message in messages:
        digest.update(message.data)
        size += len(message.data)
        content.write(message.data)
    if size != file.size_bytes:
        raise DownloadError(
            f"{file.name} arrived with {size} bytes instead of {file.size_bytes}; it was thrown away. Try again."
        )
    if digest.hexdigest() != file.sha256:
        raise DownloadError(
            f"{file.name} arrived damaged: its SHA-256 is {digest.hexdigest()} and should be {file.sha256};"
            " it was thrown away. Try again."
        )
