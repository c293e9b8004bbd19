"""A prefix of a bucket, or one object in it, below a root that the operator listed."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from service.importing import problems
from service.importing.places import Listing, Progress
from service.importing.problems import failed
from service.importing.sources import ObjectSource
from store.object_store import AccessRefused, NotFound, ObjectInfo, ObjectStore, StoreError

_STEP = 16 << 20
"""Bytes that are asked for at a time; what has come is kept if the import ends there."""
_MOST_OBJECTS = 10_000


class ObjectPlace:
    """See Place."""

    def __init__(self, source: ObjectSource, store: ObjectStore, downloads: Path) -> None:
        """`store` is the bucket; `downloads` the folder that fetched objects are kept in."""
        self._source = source
        self._store = store
        self._downloads = downloads
        self._found: dict[str, ObjectInfo] = {}

    def listed(self) -> Listing:
        path = self._source.path
        prefix = f"{path}/" if path else ""
        try:
            for entry in self._store.list(prefix):
                self._found[entry.key.removeprefix(prefix)] = entry
                if len(self._found) > _MOST_OBJECTS:
                    raise failed(
                        problems.TOO_LARGE,
                        f"{self._source.uri} holds more than {_MOST_OBJECTS} objects; name the base model's own prefix.",
                    )
            file = path.rpartition("/")[2] if not self._found and path else ""
            if file:
                self._found[file] = self._store.info(path)
        except StoreError as error:
            raise self._why(error) from error
        if not self._found:
            raise failed(problems.NOT_FOUND, f"{self._source.uri} holds no object; check the address.")
        return Listing(self._source.uri, {name: entry.size for name, entry in self._found.items()}, file)

    def head(self, name: str, length: int) -> bytes:
        try:
            return self._store.get_range(self._found[name].key, 0, length)
        except StoreError as error:
            raise self._why(error) from error

    def fetch(self, name: str, progress: Progress) -> Path:
        entry = self._found[name]
        version = f"{entry.key}\n{entry.size}\n{entry.modified.isoformat()}"
        target = self._folder / hashlib.sha256(version.encode()).hexdigest()
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("ab") as file:
                progress(file.tell())
                while file.tell() < entry.size:
                    piece = self._store.get_range(entry.key, file.tell(), min(_STEP, entry.size - file.tell()))
                    if not piece:
                        break
                    file.write(piece)
                    progress(len(piece))
            now = self._store.info(entry.key)
        except StoreError as error:
            raise self._why(error) from error
        if (now.size, now.modified) != (entry.size, entry.modified) or target.stat().st_size != entry.size:
            target.unlink()
            raise failed(
                problems.SOURCE_CHANGED,
                f"{self._source.uri}: {name} was replaced while it was fetched; import it again.",
            )
        return target

    def done(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _folder(self) -> Path:
        return self._downloads / hashlib.sha256(self._source.uri.encode()).hexdigest()

    def _why(self, error: StoreError) -> problems.ImportFailed:
        if isinstance(error, NotFound):
            return failed(problems.NOT_FOUND, f"{self._source.uri} does not exist; check the address.")
        reason = problems.ACCESS_REFUSED if isinstance(error, AccessRefused) else problems.SOURCE_UNAVAILABLE
        return failed(reason, f"{error}.")
