"""Brings a dataset's contents to the local disk, several at a time, and trusts each when its digest is right."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from trainer.data.listing import DataFile

_AT_A_TIME = 8


class Damaged(Exception):
    """A content that is not what the dataset's manifest says. The message goes on after the file's name."""


class LocalFiles:
    """The contents of files in a folder, each named by its SHA-256. A context manager: fetching ends with it."""

    def __init__(self, files: Iterable[DataFile], fetch: Callable[[str, Path], None], folder: Path) -> None:
        """Begins to fetch; `fetch` writes the content of a SHA-256 to a path, and is called from several threads."""
        folder.mkdir(parents=True, exist_ok=True)
        self._fetch = fetch
        self._folder = folder
        self._pool = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="fetch")
        self._sizes = {file.sha256: file.size for file in files}
        self._paths: dict[str, Future[Path]] = {}
        try:
            for sha256, size in self._sizes.items():
                self._paths[sha256] = self._pool.submit(self._fetched, sha256, size)
        except BaseException:  # told to stop: nobody will leave what was never entered
            self._pool.shutdown(cancel_futures=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def path(self, file: DataFile) -> Path:
        """Where the content of a file lies; waits for it. Raises Damaged, and whatever `fetch` raises."""
        if self._sizes[file.sha256] != file.size:
            raise Damaged(f"is listed with {file.size} bytes, and with {self._sizes[file.sha256]} elsewhere")
        return self._paths[file.sha256].result()

    def _fetched(self, sha256: str, size: int) -> Path:
        path = self._folder / sha256
        if not path.is_file() or _digest(path) != sha256:
            self._fetch(sha256, path)
        if path.stat().st_size != size:
            raise Damaged(f"should have {size} bytes and has {path.stat().st_size}")
        if (found := _digest(path)) != sha256:
            raise Damaged(f"should have SHA-256 {sha256[:12]}… and has {found[:12]}…")
        return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
