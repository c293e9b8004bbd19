"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from loramill.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[IO[bytes]]:
    """Takes the content of `target`, which gets it when the block ends well; otherwise nothing is left behind.

    Missing folders are made. What cannot be written is DownloadError.
    """
    with temporary_file(target.parent) as temporary:
        try:
            with temporary.open("wb") as content:
                yield content
                content.flush()
                os.fsync(content.fileno())
            temporary.replace(target)
        except OSError as error:
            raise DownloadError(f"{target} cannot be written: {error.strerror}.") from error


@contextlib.contextmanager
def temporary_file(folder: Path) -> Iterator[Path]:
    """An empty file in the folder, which is made if missing; gone afterwards unless it was given another name."""
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
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
