"""Uploading many files at once, with progress."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from loramill.inputs.result import InputFile
    from loramill.inputs.source import Source

UPLOADS_AT_ONCE = 4


@dataclass(frozen=True)
class LocalFile:
    """A file to upload: where it lies, and its path in the dataset with `/` between parts."""

    path: Path
    label: str


@dataclass(frozen=True)
class UploadProgress:
    """How much of a dataset the service has."""

    files_done: int
    files: int
    bytes_done: int
    bytes: int


def upload_files(
    files: Sequence[InputFile],
    upload: Callable[[InputFile], object],
    progress: Callable[[UploadProgress], None],
) -> None:
    """Calls `upload` for each file, a few at a time, and `progress` in this thread: at first, and after each file.

    The first error ends it: files that have not begun are not begun, and those under way are waited for.
    """
    total = sum(file.size for file in files)
    done = 0
    progress(UploadProgress(0, len(files), done, total))
    pool = ThreadPoolExecutor(max_workers=UPLOADS_AT_ONCE, thread_name_prefix="upload")
    try:
        for count, (_, file) in enumerate(zip(pool.map(upload, files), files, strict=True), 1):
            done += file.size
            progress(UploadProgress(count, len(files), done, total))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def on_disk(source: Source, file: InputFile) -> Iterator[LocalFile]:
    """A file of an input on this disk, for the time of the block: where it lies, or unpacked, or written."""
    if file.text is None:
        with source.file(file.origin) as path:
            yield LocalFile(path, file.label)
        return
    with tempfile.NamedTemporaryFile(prefix="loramill-") as content:
        content.write(file.text.encode())
        content.flush()
        yield LocalFile(Path(content.name), file.label)
