"""Uploading many files at once, with progress."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loramill.folder import LocalFile

UPLOADS_AT_ONCE = 4


@dataclass(frozen=True)
class UploadProgress:
    """How much of a folder the service has."""

    files_done: int
    files: int
    bytes_done: int
    bytes: int


def upload_files(
    files: Sequence[LocalFile],
    upload: Callable[[LocalFile], object],
    progress: Callable[[UploadProgress], None],
) -> None:
    """Calls `upload` for each file, a few at a time, and `progress` in this thread: at first, and after each file.

    The first error ends it: files that have not begun are not begun, and those under way are waited for.
    """
    sizes = [file.path.stat().st_size for file in files]
    done = 0
    progress(UploadProgress(0, len(files), done, sum(sizes)))
    pool = ThreadPoolExecutor(max_workers=UPLOADS_AT_ONCE, thread_name_prefix="upload")
    try:
        for count, (_, size) in enumerate(zip(pool.map(upload, files), sizes, strict=True), 1):
            done += size
            progress(UploadProgress(count, len(files), done, sum(sizes)))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
