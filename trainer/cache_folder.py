"""The cache of this machine: a folder that outlives jobs, so that the next one on the same node reads it before the store.

Each tenant has a folder of its own in it, named by the digest of where the tenant's cache lies in the store.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import structlog

from store import ObjectStore, open_store

log = structlog.get_logger()


def near_cache(folder: Path | None, cache_uri: str, gib: float) -> ObjectStore | None:
    """The tenant's part of `folder`, which is first brought down to `gib` GiB in all; None where a folder would be of no use."""
    if folder is None or cache_uri.startswith("file://"):  # what is in a folder anyway needs no copy in another
        return None
    try:
        trim(folder, int(gib * 2**30))
        mine = folder / hashlib.sha256(cache_uri.encode()).hexdigest()[:16]
        mine.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("the cache of this machine cannot be used", folder=str(folder), why=error.strerror)
        return None
    return open_store(mine.resolve().as_uri() + "/")


def trim(folder: Path, most: int) -> int:
    """Removes files, the oldest first, until the others have at most `most` bytes; returns how many went."""
    files = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            status = path.lstat()
            if path.is_file() and not path.is_symlink():
                files.append((status.st_mtime, status.st_size, path))
    size, removed = sum(size for _, size, _ in files), 0
    for _, of_file, path in sorted(files):
        if size <= most:
            break
        path.unlink(missing_ok=True)
        size, removed = size - of_file, removed + 1
    return removed
