"""Content-addressed, disposable results: what was computed from these very bytes before need not be computed again.

A key is made of everything that the value depends on, so nothing is ever stale. Values are safetensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import structlog
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from store import AlreadyExists, NotFound, ObjectStore

log = structlog.get_logger()


class Cache:
    """Tensors in a store, below one address, shared by the jobs of a tenant."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.hits = 0
        self.misses = 0

    @staticmethod
    def key(kind: str, **depends_on: object) -> str:
        """The key of a value that depends on these things, which must be plain data."""
        words = json.dumps(depends_on, sort_keys=True).encode()
        return f"{kind}/{hashlib.sha256(words).hexdigest()}.safetensors"

    def get(self, key: str) -> dict[str, Tensor] | None:
        """The value, or None. A damaged one is dropped and counts as missing."""
        try:
            value = load(self._store.get(key))
        except NotFound:
            self.misses += 1
            return None
        except SafetensorError:
            log.warning("a damaged cache entry is dropped", key=key)
            self._store.delete(key)
            self.misses += 1
            return None
        self.hits += 1
        return value

    def put(self, key: str, value: Mapping[str, Tensor]) -> None:
        """Keeps the value; somebody else's equal value may be there already."""
        try:
            self._store.put_new(key, save({name: tensor.contiguous() for name, tensor in value.items()}))
        except AlreadyExists:
            return
