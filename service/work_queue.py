"""Keys that need attention: each at most once in the queue, and never in two hands at a time."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

K = TypeVar("K")


class WorkQueue(Generic[K]):
    """For one event loop. A key that is added while it is in somebody's hands comes again after `done`."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._added: set[K] = set()
        self._in_hand: set[K] = set()

    def add(self, key: K) -> None:
        if key in self._added:
            return
        self._added.add(key)
        if key not in self._in_hand:
            self._ready.put_nowait(key)

    async def take(self) -> K:
        key = await self._ready.get()
        self._added.discard(key)
        self._in_hand.add(key)
        return key

    def done(self, key: K) -> None:
        self._in_hand.discard(key)
        if key in self._added:
            self._ready.put_nowait(key)
