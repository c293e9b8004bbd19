"""Moves bytes between files and streams of messages, with their digests."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from loramill import v1
from loramill.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 2**20
"""The most that one message carries."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def upload_messages(dataset: str, path: Path, label: str) -> Iterator[v1.UploadFileRequest]:
    """The header, then the content. If the file changes in between, the service refuses it by its digest."""
    described = v1.DatasetFile(path=label, sha256=sha256_of(path), size_bytes=path.stat().st_size)
    yield v1.UploadFileRequest(header=v1.UploadFileHeader(dataset=dataset, file=described))
    with path.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            yield v1.UploadFileRequest(data=chunk)


def save_download(messages: Iterator[v1.DownloadAdapterResponse], folder: Path, *, overwrite: bool = False) -> Path:
    """Writes a download into `folder` under the name that it brings, and returns the path.

    The bytes go into a temporary file, which gets the name only after size and digest are found right; whatever goes
    wrong, nothing is left behind. A file of that name and content stays as it is; with another content it is
    DownloadError, unless `overwrite`.
    """
    file = _announced(messages)
    target = folder / file.file_name
    if target.exists() and not overwrite:
        if target.is_file() and sha256_of(target) == file.sha256:
            return target
        raise DownloadError(
            f"{target} exists with another content. Choose another folder, or overwrite it with --force."
        )
    temporary = _temporary_in(folder)
    try:
        _write(messages, file, temporary)
        temporary.replace(target)
    except OSError as error:
        raise DownloadError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _announced(messages: Iterator[v1.DownloadAdapterResponse]) -> v1.AdapterFile:
    """The first message's file; its name is held to be hostile."""
    first = next(messages, None)
    if first is None or first.WhichOneof("payload") != "file":
        raise DownloadError("The service sent no file. Use a client and a service of the same version.")
    name = first.file.file_name
    if not name or name.startswith(".") or PurePosixPath(name).name != name or not name.isprintable() or "\\" in name:
        raise DownloadError(f"The service named the file {name!r}, which is no plain file name; nothing was written.")
    return first.file


def _temporary_in(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=".loramill-", suffix=".part")
    except OSError as error:
        raise DownloadError(f"The folder {folder} cannot be written to: {error.strerror}. Choose another.") from error
    os.close(handle)
    temporary = Path(name)
    with contextlib.suppress(OSError):  # mkstemp is private; an adapter is as readable as any new file
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
    return temporary


def _write(messages: Iterator[v1.DownloadAdapterResponse], file: v1.AdapterFile, path: Path) -> None:
    digest = hashlib.sha256()
    size = 0
    with path.open("wb") as content:
        for message in messages:
            digest.update(message.data)
            size += len(message.data)
            content.write(message.data)
        content.flush()
        os.fsync(content.fileno())
    if size != file.size_bytes:
        raise DownloadError(
            f"{file.file_name} arrived with {size} bytes instead of {file.size_bytes}; it was thrown away. Try again."
        )
    if digest.hexdigest() != file.sha256:
        raise DownloadError(
            f"{file.file_name} arrived damaged: its SHA-256 is {digest.hexdigest()} and should be {file.sha256};"
            " it was thrown away. Try again."
        )
