"""Folders below a root, opened part by part, so that no link on the way is ever followed (openat with O_NOFOLLOW)."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path

from store.key_rules import is_key
from store.object_store import ObjectInfo

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # O_NONBLOCK: a pipe must not make us wait


@contextlib.contextmanager
def opened(root: Path, parts: Sequence[str], create: bool = False) -> Iterator[list[int]]:
    """Descriptors of `root` and of every folder of `parts` below it, in that order.

    Raises FileNotFoundError for a missing folder unless `create`, and NotADirectoryError where a file or a link stands.
    """
    with contextlib.ExitStack() as stack:
        chain = [_open(stack, os.open(root, _FOLDER))]
        for part in parts:
            if create:
                _make(part, chain[-1])
            chain.append(_open(stack, os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=chain[-1])))
        yield chain


def open_file(name: str, folder: int) -> BufferedReader:
    """The regular file `name` in `folder`, open for reading; anything else counts as missing (FileNotFoundError)."""
    try:
        descriptor = os.open(name, _FILE, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket
            raise FileNotFoundError(name) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(name)
    return os.fdopen(descriptor, "rb")


def is_file(name: str, folder: int) -> bool:
    """Whether a regular file, and not a folder or a link, has that name."""
    return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def object_info(key: str, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def walk(folder: int, path: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
    """Files below `folder`, whose own key is `path` (empty, or with a `/` at its end), in order of the key's bytes.

    Links, and names that no key can have, are passed over: they are not of the store.
    """
    for name in _names(folder):
        key = path + name
        if not key.startswith(prefix) or not _may_follow(key, after):
            continue
        # Whatever vanishes between the listing and the look is as if it had vanished before.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if not name.endswith("/"):
                yield object_info(key, os.stat(name, dir_fd=folder, follow_symlinks=False))
                continue
            child = os.open(name[:-1], _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            try:
                yield from walk(child, key, prefix, after)
            finally:
                os.close(child)


def _names(folder: int) -> list[str]:
    """Names of files, and of folders with `/` behind them: so they sort as the keys do, `a.txt` before `a/b`."""
    with os.scandir(folder) as entries:
        names = [
            entry.name + "/" * entry.is_dir(follow_symlinks=False)
            for entry in entries
            if is_key(entry.name) and (entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False))
        ]
    return sorted(names, key=str.encode)


def _may_follow(key: str, after: str) -> bool:
    """Whether the key, or for a folder some key below it, sorts behind `after`."""
    return key > after or (key.endswith("/") and after.startswith(key))


def _open(stack: contextlib.ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _make(name: str, folder: int) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, dir_fd=folder)
        os.fsync(folder)
