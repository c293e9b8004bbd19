"""Uploads in parts that were begun and never completed: invisible, and paid for. An optional capability of a store."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, runtime_checkable


@runtime_checkable
class HasUnfinished(Protocol):
    """A store in which a writer that was killed may leave parts behind."""

    def abort_unfinished(self, begun_before: datetime) -> int:
        """Gives up the uploads below the store's root that began before that time; how many. Raises StoreUnavailable."""
        ...
