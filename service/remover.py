"""Removes, or in a dry run only names, one thing after another: looked at once more, at a measured pace, counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from service.errors import Refused, ResourceNotFound
from service.retention import Kind
from store.object_store import NotFound, ObjectInfo, ObjectStore

log = structlog.get_logger(__name__)


class Stopped(Exception):
    """The service stops; what is left is for the next pass."""


class RemovalCounts(Protocol):
    """Hears of everything that was removed. Called from a thread."""

    def removed(self, kind: Kind, objects: int, size: int) -> None:
        """`size` in bytes."""
        ...


@dataclass(frozen=True)
class Remover:
    """Every removal of a collector goes through here."""

    store: ObjectStore
    counts: RemovalCounts
    stopped: threading.Event
    seconds_between: float
    dry_run: bool

    def remove(self, kind: Kind, entries: Iterable[ObjectInfo], still: Callable[[], bool] = lambda: True) -> None:
        """Removes objects in this order; those that were written anew since they were listed stay.

        Ends where `still`, asked before each, says that they are not to go any more. Raises Stopped.
        """
        for entry in entries:
            self._pace()
            if not still():
                return
            if not self._is_unchanged(entry):
                continue
            if not self.dry_run:
                self.store.delete(entry.key)
            self._count(kind, entry.key, 1, entry.size)

    def remove_whole(self, kind: Kind, name: str, entries: Iterable[ObjectInfo], act: Callable[[], None]) -> None:
        """Removes a resource as a caller would, by `act`; one that is in use, or gone, is passed over. Raises Stopped."""
        self._pace()
        sizes = [entry.size for entry in entries]
        try:
            if not self.dry_run:
                act()
        except (Refused, ResourceNotFound) as error:
            log.info("is not collected now", kind=kind.value, name=name, why=error.message)
            return
        self._count(kind, name, len(sizes), sum(sizes))

    def _is_unchanged(self, entry: ObjectInfo) -> bool:
        with suppress(NotFound):
            return self.store.info(entry.key).modified <= entry.modified
        return False

    def _pace(self) -> None:
        if self.stopped.wait(self.seconds_between):
            raise Stopped

    def _count(self, kind: Kind, name: str, objects: int, size: int) -> None:
        log.info("would be removed" if self.dry_run else "removed", kind=kind.value, name=name, bytes=size)
        if not self.dry_run:
            self.counts.removed(kind, objects, size)
