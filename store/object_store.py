"""The object store as everything else sees it: one protocol, one small record per object, one tree of errors.

StoreError
├── NotFound           there is no object of that key
├── AlreadyExists      a create-only PUT came second
├── InvalidKey         the key, or the URI, cannot name an object
├── StoreUnavailable   the store did not answer, refused, or is full; trying again later may help
│   └── AccessRefused  it did not let these credentials do that
├── UnsuitableStore    the store answers, but does not do what Loramill builds on
└── RecordError        the object is there, but is no record that this version can read
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol


class StoreError(Exception):
    """Something about the object store. The message is one sentence that names the object by its URI."""


class NotFound(StoreError):
    """There is no object of that key."""


class AlreadyExists(StoreError):
    """A create-only PUT found an object that somebody else had written."""


class InvalidKey(StoreError):
    """The key, or the URI, cannot name an object."""


class StoreUnavailable(StoreError):
    """The store did not answer in time, refused, or is full. Whether a write took place is then unknown."""


class AccessRefused(StoreUnavailable):
    """The store did not let these credentials do that."""


class UnsuitableStore(StoreError):
    """The store answers, but does not do what Loramill builds on."""


class RecordError(StoreError):
    """The object is there, but is no record that this version can read."""


@dataclass(frozen=True)
class ObjectInfo:
    """What a listing tells of an object."""

    key: str
    size: int
    """Bytes."""
    modified: datetime
    """When it was written, by the store's clock, in UTC; the same wherever it is told."""


LISTED_AT_ONCE = 1000
"""Keys that S3 tells in one answer at most."""
LARGE = 32 << 20
"""Bytes up to which creating is strict in every store: `ObjectStore.put_new`."""


class ObjectStore(Protocol):
    """A flat space of objects below one URI. Synchronous, and safe to use from many threads.

    A key is a relative path with `/` between its parts (`store.key_rules`). No key may be another key's folder: where
    `a/b` is, `a` cannot be. A read after a finished write sees it, and so does a listing. Every method may raise
    StoreUnavailable and InvalidKey.
    """

    @property
    def uri(self) -> str:
        """The root that keys are relative to: `file:///folder/` or `s3://bucket/prefix/`, percent-encoded."""
        ...

    def put_new(self, key: str, content: bytes | Path) -> None:
        """Creates an object, whole or not at all; a Path is streamed from that local file (OSError if unreadable).

        Of many that create the same key at once exactly one returns, and the others raise AlreadyExists. One exception:
        a writer whose request got no answer looks at what is there, and counts its own bytes as its own success. Who
        must know that it alone has won puts something into the content that only it can have written.

        A content of more than LARGE bytes may go in parts. Some stores let two writers who complete such an upload at the
        same moment both return, and keep the later bytes; one who begins after another has returned is refused by all.
        So whoever creates large objects sees to it that all writers of a key write the same bytes, or that there is only
        one of them, and lets nothing count before a small object names it (decision 0011).
        """
        ...

    def put_status(self, key: str, content: bytes) -> None:
        """Creates or replaces an object. Readers see the old content or the new, never a part."""
        ...

    def get(self, key: str) -> bytes:
        """The whole content. Raises NotFound."""
        ...

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`; fewer, or none, where the object ends before. Raises NotFound."""
        ...

    def info(self, key: str) -> ObjectInfo:
        """Size and time of an object. Raises NotFound."""
        ...

    def fetch(self, key: str, path: Path) -> None:
        """Streams an object into a local file, which appears whole or not at all, in place of what was there.

        Raises NotFound, and OSError about the local file.
        """
        ...

    def list(self, prefix: str = "", after: str = "", at_once: int = LISTED_AT_ONCE) -> Iterator[ObjectInfo]:
        """The objects whose key starts with `prefix` and sorts behind `after`, lazily, by the keys' UTF-8 bytes.

        `at_once` is how many of them are likely to be taken, 1 or more: whoever takes more waits once more.
        """
        ...

    def delete(self, key: str) -> None:
        """Removes an object. One that is not there is no error."""
        ...
