"""Work done ahead by a thread of its own, a bounded number of results before they are asked for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_LOOK_SECONDS = 0.1
_JOIN_SECONDS = 5.0


class _End:
    """No more comes: the items are at their end, or `error` ended them."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


@contextmanager
def ahead(items: Iterator[T], room: int) -> Iterator[Iterator[T]]:
    """The items, in order, made by a thread that is at most `room` of them ahead. What making them raises is raised here.

    Leaving the context ends the thread after the item that it is at.
    """
    made: queue.Queue[T | _End] = queue.Queue(room)
    left = threading.Event()

    def put(item: T | _End) -> bool:
        while not left.is_set():
            try:
                made.put(item, timeout=_LOOK_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def make() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as raised:  # noqa: BLE001 - it is raised where the items are taken
            error = raised
        put(_End(error))

    def taken() -> Iterator[T]:
        while not isinstance(item := made.get(), _End):
            yield item
        if item.error is not None:
            raise item.error

    thread = threading.Thread(target=make, name="ahead", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        left.set()
        thread.join(_JOIN_SECONDS)
