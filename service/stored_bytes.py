"""The bytes of an object of a known size, in pieces of a size that a message takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.errors import Damaged, ResourceNotFound
from store.object_store import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.object_store import ObjectStore

PIECE_BYTES = 1 << 20


def pieces(store: ObjectStore, key: str, size: int, name: str) -> Iterator[bytes]:
    """At most 1 MiB each; `name` is what it is called in sentences.

    Raises ResourceNotFound if it is deleted meanwhile, and Damaged if it is shorter than it was.
    """
    start = 0
    while start < size:
        try:
            piece = store.get_range(key, start, min(PIECE_BYTES, size - start))
        except NotFound as error:
            raise ResourceNotFound(f"{name} has been deleted.") from error
        if not piece:
            raise Damaged(f"{name} ends after {start} of {size} bytes in the object store; restore it.")
        start += len(piece)
        yield piece
