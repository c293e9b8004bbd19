"""Rules of a bucket that remove or archive objects by their age. An optional capability of a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class LifecycleRule:
    """One that is in force and reaches objects of the store."""

    name: str
    """As the bucket's owner called it."""
    prefix: str
    """Keys of the store that begin so are reached; empty for all."""
    does: str
    """Such as `removes objects after 90 days`."""


@runtime_checkable
class HasLifecycle(Protocol):
    """A store in which somebody else may let objects expire."""

    def lifecycle_rules(self) -> Sequence[LifecycleRule]:
        """Those that remove current objects of the store, or move them where they cannot be read at once.

        Raises StoreError, also where these credentials may not ask, or the store has no such thing.
        """
        ...
