"""Whether a store does what Loramill builds on, found out by doing it: run once when the service starts."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from store.object_store import AlreadyExists, NotFound, ObjectStore, StoreError, UnsuitableStore

PROBE_PREFIX = "_probe/"
"""Where the probe's objects lie while it runs. No tenant's name begins so."""

_ENDINGS = ("-a", "/a", "/b", "0")
"""In the order of their bytes, which is neither that of words nor that of a listing folder by folder."""


def probe(store: ObjectStore, contenders: int = 16) -> None:
    """Lets `contenders` threads create one key at once, then reads, lists, replaces and deletes it.

    Raises UnsuitableStore with everything that the store lacks, or StoreUnavailable. Leaves nothing behind.
    """
    key = f"{PROBE_PREFIX}{uuid.uuid4().hex}"
    ordered = [f"{key}.order{ending}" for ending in _ENDINGS]
    try:
        faults = [*_faults_of_creating(store, key, contenders), *_faults_of_replacing(store, key)]
        faults += _faults_of_listing(store, ordered)
        store.delete(key)
        faults += _faults_of_deleting(store, key)
    finally:
        for leftover in (key, *ordered):
            with contextlib.suppress(StoreError):
                store.delete(leftover)
    if faults:
        raise UnsuitableStore(
            f"{store.uri} cannot be used: {'; '.join(faults)}. Use a store whose create-only PUT (S3: If-None-Match) "
            "has exactly one winner, and whose reads and listings see every finished write"
        )


def _faults_of_creating(store: ObjectStore, key: str, contenders: int) -> Iterator[str]:
    contents = [f"contender {number}".encode() for number in range(contenders)]
    winners = _race(store, key, contents)
    if len(winners) != 1:
        yield f"of {contenders} create-only PUTs of one key at the same time {len(winners)} succeeded, not exactly one"
    content = _content(store, key)
    if content is None:
        yield "a read does not find an object that was just written"
    elif content not in winners:
        yield "a read after a create-only PUT does not return what the winner wrote"
    if [found.key for found in store.list(PROBE_PREFIX) if found.key == key] != [key]:
        yield "a listing does not show an object that was just written"
    with contextlib.suppress(AlreadyExists):
        store.put_new(key, b"late")
        yield "a create-only PUT of a key that exists is not refused"
    if content is not None and _content(store, key) != content:
        yield "a create-only PUT changes an object that exists"


def _faults_of_replacing(store: ObjectStore, key: str) -> Iterator[str]:
    store.put_status(key, b"replaced")
    if _content(store, key) != b"replaced":
        yield "a read does not return what was just written over an older content"
    elif store.get_range(key, 2, 3) != b"pla":
        yield "a read of a range of bytes returns other bytes"


def _faults_of_listing(store: ObjectStore, ordered: list[str]) -> Iterator[str]:
    for key in reversed(ordered):
        store.put_new(key, b"")
    prefix, after = ordered[0].removesuffix(_ENDINGS[0]), ordered[1]
    if [found.key for found in store.list(prefix)] != ordered:
        yield "a listing is not complete and in the order of the keys' bytes"
    if [found.key for found in store.list(prefix, after)] != ordered[2:]:
        yield "a listing does not begin behind the key that it was told to"


def _faults_of_deleting(store: ObjectStore, key: str) -> Iterator[str]:
    if _content(store, key) is not None or any(found.key == key for found in store.list(PROBE_PREFIX)):
        yield "an object that was deleted is still there"


def _race(store: ObjectStore, key: str, contents: list[bytes]) -> list[bytes]:
    """Creates the key from as many threads as there are contents, all at once; returns the contents of the winners."""
    start = threading.Barrier(len(contents))

    def create(content: bytes) -> bool:
        start.wait()
        try:
            store.put_new(key, content)
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(len(contents)) as threads:
        won = list(threads.map(create, contents))
    return [content for content, winner in zip(contents, won, strict=True) if winner]


def _content(store: ObjectStore, key: str) -> bytes | None:
    try:
        return store.get(key)
    except NotFound:
        return None
