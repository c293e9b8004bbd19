"""Content-addressed, disposable results: what was computed from these very bytes before need not be computed again.

A key is made of everything that the value depends on, so nothing is ever stale. Values are safetensors, at two levels: in a
folder of this machine, if there is one (`cache_folder`), then in the tenant's place in the store, which the tenant's jobs share.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import structlog
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from store import AlreadyExists, NotFound, ObjectStore, StoreError

log = structlog.get_logger()

AT_A_TIME = 16
"""Objects that are read or written at once: each is small, so that what costs is the waiting for an answer."""

Value = dict[str, Tensor]


class Cache:
    """Tensors by key, shared by the jobs of a tenant. `near` is the folder of this machine, looked into before the store.

    What goes wrong with the near level costs its speed alone; what goes wrong with the store is raised, as a StoreError.
    """

    def __init__(self, store: ObjectStore, near: ObjectStore | None = None) -> None:
        self._store, self._near = store, near
        self.hits = 0
        self.misses = 0

    @staticmethod
    def key(kind: str, **depends_on: object) -> str:
        """The key of a value that depends on these things, which must be plain data."""
        words = json.dumps(depends_on, sort_keys=True).encode()
        return f"{kind}/{hashlib.sha256(words).hexdigest()}.safetensors"

    def get(self, key: str) -> Value | None:
        """The value, or None. A damaged one is dropped and counts as missing."""
        return self._counted(self._read(key))

    def get_all(self, keys: Iterable[str]) -> Iterator[tuple[str, Value | None]]:
        """(key, what `get` gives) in the order of the keys, read AT_A_TIME at once; no more than that lie in memory."""
        pool = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="cache")
        try:
            reads: deque[tuple[str, Future[Value | None]]] = deque()
            for key in keys:
                reads.append((key, pool.submit(self._read, key)))
                if len(reads) >= AT_A_TIME:
                    first, read = reads.popleft()
                    yield first, self._counted(read.result())
            for key, read in reads:
                yield key, self._counted(read.result())
        finally:
            pool.shutdown(cancel_futures=True)

    def put(self, key: str, value: Mapping[str, Tensor]) -> None:
        """Keeps the value at both levels; somebody else's equal value may be there already."""
        content = save({name: tensor.contiguous() for name, tensor in value.items()})
        self._keep_near(key, content)
        try:
            self._store.put_new(key, content)
        except AlreadyExists:
            return

    def writing(self) -> CacheWriter:
        """Puts beside other work; see there."""
        return CacheWriter(self)

    def _counted(self, value: Value | None) -> Value | None:
        if value is None:
            self.misses += 1
        else:
            self.hits += 1
        return value

    def _read(self, key: str) -> Value | None:
        if self._near is not None:
            try:
                value = _loaded(self._near, key)
            except StoreError:
                value = None
            if value is not None:
                return value
        value = _loaded(self._store, key)
        if value is not None:
            self._keep_near(key, save(value))
        return value

    def _keep_near(self, key: str, content: bytes) -> None:
        if self._near is None:
            return
        try:
            self._near.put_new(key, content)
        except AlreadyExists:
            return
        except StoreError as error:
            log.warning("the cache of this machine cannot be written and is left alone", why=str(error))
            self._near = None


class CacheWriter:
    """Writes values while the caller computes the next ones. A context: leaving it waits for what is under way.

    An exception of a write is raised by a later `put`, or when the context is left.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._pool = ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="cache")
        self._writes: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            while error is None and self._writes:
                self._writes.popleft().result()
        finally:
            # What was computed is worth keeping when a run is stopped, but not worth waiting for.
            self._pool.shutdown(wait=error is None, cancel_futures=True)

    def put(self, key: str, value: Mapping[str, Tensor]) -> None:
        """Begins to write; waits while twice AT_A_TIME values are not written yet."""
        while self._writes and (self._writes[0].done() or len(self._writes) >= 2 * AT_A_TIME):
            self._writes.popleft().result()
        self._writes.append(self._pool.submit(self._cache.put, key, value))


def _loaded(store: ObjectStore, key: str) -> Value | None:
    try:
        return load(store.get(key))
    except NotFound:
        return None
    except SafetensorError:
        log.warning("a damaged cache entry is dropped", key=key)
        store.delete(key)
        return None
