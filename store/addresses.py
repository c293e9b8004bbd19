"""Addresses: URLs by which somebody without credentials may send or fetch one object, for a while.

A store may offer them, so that large contents need not pass through the service; a local folder does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Address:
    """One URL, for one method and one key. Whoever knows it may use it until it expires, again and again."""

    url: str
    headers: Mapping[str, str]
    """To be sent with the request exactly so: they are signed."""
    expire_time: datetime
    """UTC. It may cease to be accepted before, where the credentials that signed it are passing themselves."""


class Addresses(Protocol):
    """Makes addresses of a store's objects. Every method may raise StoreUnavailable and InvalidKey."""

    def upload(self, key: str, size: int, sha256: str, lifetime: timedelta) -> Address:
        """For a PUT that creates the object, of exactly `size` bytes, and changes none that is there.

        The content's SHA-256 (in hexadecimal) is signed too; not every store compares it: `store.address_probe`.
        """
        ...

    def download(self, key: str, file_name: str, lifetime: timedelta) -> Address:
        """For a GET, also of ranges. A browser saves the object as `file_name`, and never shows it as a page."""
        ...

    def copy(self, source: str, target: str) -> None:
        """Copies an object inside the store, at most 5 GiB, in place of what was there. Raises NotFound."""
        ...


@runtime_checkable
class Addressable(Protocol):
    """A store that offers addresses."""

    def addresses(self, endpoint_url: str | None = None) -> Addresses:
        """`endpoint_url` is where callers reach the store, if that is not where this process reaches it."""
        ...
