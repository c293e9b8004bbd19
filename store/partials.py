"""Contents on their way into a file store: written and synced under a passing name, then put in place in one step.

A temporary is locked (`flock`) by its writer for as long as it lives, and the system drops the lock of a process that
dies, however it dies. So a temporary that can be locked is a leftover: no clock and no process ids are needed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import structlog

from store.key_rules import PARTIAL
from store.local_files import CHUNK

_NAME = re.compile(r"put-[0-9a-f]{32}")

log = structlog.get_logger(__name__)


def partial_folder(root: Path) -> Path:
    """The folder for temporaries of the store at `root`: `root/.partial`, or that of a store around it.

    A store that is opened below another one shares the outer one's folder, so that leftovers are found by whoever opens
    the outer store. A folder of that name on another file system, or of another user, is not shared: nothing could be
    linked from the one, or trusted in the other.
    """
    device = root.stat().st_dev
    for folder in (root, *root.parents):
        candidate = folder / PARTIAL
        with contextlib.suppress(OSError):
            found = candidate.lstat()
            if stat.S_ISDIR(found.st_mode) and (found.st_dev, found.st_uid) == (device, os.geteuid()):
                return candidate
    return root / PARTIAL


@contextlib.contextmanager
def written(folder: Path, source: BinaryIO) -> Iterator[Path]:
    """A complete, synced temporary in `folder` with all that `source` holds. It is removed at the end of the block."""
    with contextlib.ExitStack() as stack:
        descriptor, path = _open_locked(folder)
        stack.callback(path.unlink, missing_ok=True)
        with os.fdopen(descriptor, "wb") as target:
            shutil.copyfileobj(source, target, CHUNK)
            target.flush()
            os.fsync(descriptor)
            yield path


def sweep(folder: Path) -> int:
    """Removes the temporaries that dead processes left in `folder`; returns how many."""
    removed = 0
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            if _NAME.fullmatch(path.name) and _remove_unlocked(path):
                removed += 1
    if removed:
        log.info("removed unfinished contents of processes that died", folder=str(folder), count=removed)
    return removed


def _open_locked(folder: Path) -> tuple[int, Path]:
    """A new temporary, open for writing and locked. A sweeper may get hold of one before it is locked: then another."""
    while True:
        folder.mkdir(exist_ok=True)
        path = folder / f"put-{uuid.uuid4().hex}"
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return descriptor, path
        except BlockingIOError:
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _remove_unlocked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
