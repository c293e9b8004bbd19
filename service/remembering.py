"""A store with a memory of what never changes, so that nobody asks twice for what is known.

A create-only record, once read, stays what it was. It may be removed; whoever must not take a removed thing for a living one
reads its tombstone, which is never remembered. What is not there is never remembered either.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cachetools import TTLCache

from store.object_store import LISTED_AT_ONCE, ObjectInfo, ObjectStore
from store.records import Remembers

T = TypeVar("T")

_BYTES = 16 << 20
"""Of contents that are remembered; what was used longest ago goes first."""
_LARGEST = 2 << 20
_SECONDS = 600.0
"""After which a content is forgotten: far less than a tombstone lasts."""


@dataclass(frozen=True)
class _Known:
    content: bytes
    parsed: dict[object, object] = field(default_factory=dict)


class RememberingStore(Remembers):
    """An ObjectStore over another one. What it remembers counts for this process alone."""

    def __init__(self, store: ObjectStore, never_changes: Callable[[str], bool]) -> None:
        """`never_changes` tells of a key whether its object is written once, create-only."""
        self._store = store
        self._never_changes = never_changes
        self._known: TTLCache[str, _Known] = TTLCache(_BYTES, _SECONDS, getsizeof=lambda known: len(known.content))
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"RememberingStore({self._store!r})"

    @property
    def uri(self) -> str:
        return self._store.uri

    def put_new(self, key: str, content: bytes | Path) -> None:
        self._store.put_new(key, content)
        if isinstance(content, bytes):
            self._remember(key, _Known(content))

    def put_status(self, key: str, content: bytes) -> None:
        self._store.put_status(key, content)

    def get(self, key: str) -> bytes:
        return self._read(key).content

    def parsed(self, key: str, kind: object, parse: Callable[[bytes], T]) -> T:
        """See `store.records.Remembers`."""
        known = self._read(key)
        if kind not in known.parsed:
            known.parsed[kind] = parse(known.content)
        return known.parsed[kind]  # type: ignore[return-value]

    def keep(self, key: str, kind: object, parsed: object) -> None:
        with self._lock:
            known: _Known | None = self._known.get(key)
        if known is not None:
            known.parsed[kind] = parsed

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return self._store.get_range(key, start, length)

    def info(self, key: str) -> ObjectInfo:
        return self._store.info(key)

    def fetch(self, key: str, path: Path) -> None:
        self._store.fetch(key, path)

    def list(self, prefix: str = "", after: str = "", at_once: int = LISTED_AT_ONCE) -> Iterator[ObjectInfo]:
        return self._store.list(prefix, after, at_once)

    def delete(self, key: str) -> None:
        with self._lock:
            self._known.pop(key, None)
        self._store.delete(key)
        with self._lock:  # and what was read meanwhile
            self._known.pop(key, None)

    def _read(self, key: str) -> _Known:
        with self._lock:
            known: _Known | None = self._known.get(key)
        if known is not None:
            return known
        known = _Known(self._store.get(key))
        self._remember(key, known)
        return known

    def _remember(self, key: str, known: _Known) -> None:
        if len(known.content) <= _LARGEST and self._never_changes(key):
            with self._lock:
                self._known[key] = known
