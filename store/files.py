"""The object store in a local folder: a key is a path below it."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from store import folders
from store.key_rules import check_key, check_prefix
from store.local_files import CHUNK, replacing
from store.object_store import (
    LISTED_AT_ONCE,
    AlreadyExists,
    InvalidKey,
    NotFound,
    ObjectInfo,
    StoreError,
    StoreUnavailable,
    UnsuitableStore,
)
from store.partials import partial_folder, sweep, written
from store.uris import encoded

_TRIES = 100
"""How often a write begins again because a delete removed its emptied folder just then."""


class FileStore:
    """A folder as an object store, for any number of threads and processes at once. It is made by the first write.

    A content is written to a temporary, synced, and then linked (create-only) or renamed (status) to its name, so that
    a name never stands for a part of a content. Links inside the folder are never followed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._uri = self._root.as_uri().rstrip("/") + "/"
        with self._reported(""), contextlib.suppress(FileNotFoundError):
            sweep(partial_folder(self._root))

    def __repr__(self) -> str:
        return f"FileStore({self._uri!r})"

    @property
    def uri(self) -> str:
        return self._uri

    def put_new(self, key: str, content: bytes | Path) -> None:
        def place(partial: Path, folder: int, name: str) -> None:
            try:
                os.link(partial, name, dst_dir_fd=folder, follow_symlinks=False)
            except FileExistsError:
                # Over NFS the answer to a link that was made can be lost, and the repeated request then finds it made.
                if partial.stat().st_nlink > 1:
                    return
                if not folders.is_file(name, folder):
                    raise IsADirectoryError(name) from None
                raise AlreadyExists(f"{self._name(key)} exists already; it was not changed") from None
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOTSUP):
                    raise
                what = "lies on a file system without hard links, which creating an object needs; choose another folder"
                raise UnsuitableStore(f"{self._name(key)} {what}") from error

        self._put(key, content, place)

    def put_status(self, key: str, content: bytes) -> None:
        self._put(key, content, lambda partial, folder, name: os.replace(partial, name, dst_dir_fd=folder))

    def get(self, key: str) -> bytes:
        with self._opened(key) as file:
            return file.read()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        with self._opened(key) as file:
            file.seek(start)
            return file.read(max(length, 0))

    def info(self, key: str) -> ObjectInfo:
        with self._opened(key) as file:
            return folders.object_info(key, os.fstat(file.fileno()))

    def fetch(self, key: str, path: Path) -> None:
        with self._opened(key) as source, replacing(path) as target:
            shutil.copyfileobj(source, target, CHUNK)

    def list(self, prefix: str = "", after: str = "", at_once: int = LISTED_AT_ONCE) -> Iterator[ObjectInfo]:  # noqa: ARG002
        check_prefix(prefix)
        return self._listed(prefix, after)

    def delete(self, key: str) -> None:
        check_key(key)
        *parents, name = key.split("/")
        missing = contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError)
        with self._reported(key), missing, folders.opened(self._root, parents) as chain:
            os.unlink(name, dir_fd=chain[-1])
            with contextlib.suppress(OSError):  # until the first folder that is not empty
                for folder, parent in zip(reversed(parents), reversed(chain[:-1]), strict=True):
                    os.rmdir(folder, dir_fd=parent)

    def _name(self, key: str) -> str:
        return self._uri + encoded(key)

    def _listed(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        folder, slash, _ = prefix.rpartition("/")
        missing = contextlib.suppress(FileNotFoundError, NotADirectoryError)
        with self._reported(prefix), missing, folders.opened(self._root, folder.split("/") if folder else []) as chain:
            yield from folders.walk(chain[-1], folder + slash, prefix, after)

    def _put(self, key: str, content: bytes | Path, place: Callable[[Path, int, str], None]) -> None:
        check_key(key)
        *parents, name = key.split("/")
        with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source, self._reported(key):
            self._root.mkdir(parents=True, exist_ok=True)
            with written(partial_folder(self._root), source) as partial:
                for _ in range(_TRIES):
                    try:
                        self._root.mkdir(parents=True, exist_ok=True)
                        with folders.opened(self._root, parents, create=True) as chain:
                            place(partial, chain[-1], name)
                            os.fsync(chain[-1])
                            return
                    except FileNotFoundError:
                        continue
            raise StoreUnavailable(f"{self._name(key)} could not be written: its folder vanished again and again")

    def _opened(self, key: str) -> BinaryIO:
        check_key(key)
        *parents, name = key.split("/")
        try:
            with folders.opened(self._root, parents) as chain:
                return folders.open_file(name, chain[-1])
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{self._name(key)} does not exist") from None
        except OSError as error:
            raise self._unavailable(key, error) from error

    @contextlib.contextmanager
    def _reported(self, key: str) -> Iterator[None]:
        """Turns errors of the operating system about the store into its own."""
        try:
            yield
        except StoreError:
            raise
        except (NotADirectoryError, IsADirectoryError):
            problem = "a folder, a file or a link stands in its way"
            raise InvalidKey(f"{self._name(key)} cannot be written: {problem}") from None
        except OSError as error:
            raise self._unavailable(key, error) from error

    def _unavailable(self, key: str, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(f"{self._name(key)} could not be used: {error.strerror or error}")
