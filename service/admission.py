"""Which of the waiting jobs start next: as they came, and never more at once than there are places. Pure."""

from __future__ import annotations

from collections import UserDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


@dataclass(frozen=True)
class Place:
    """A living job in the order of admission."""

    tenant: str
    job: str
    create_time: datetime
    waits: bool
    """It was never launched. A job that was keeps its place until it has ended, also between two launches."""
    held_back: bool = False
    """An operator does not let it begin."""


def in_order(places: Iterable[Place]) -> list[Place]:
    """The waiting jobs, next to start first."""
    # Of jobs of the same moment, the greater id is the older one: ids sort newest first.
    by_id = sorted((place for place in places if place.waits), key=lambda place: place.job, reverse=True)
    return sorted(by_id, key=lambda place: place.create_time)


def admitted(places: Iterable[Place], limit: int) -> list[Place]:
    """The waiting jobs that may start now, where at most `limit` jobs are under way at once.

    One that is held back keeps its place in the order, and lets those behind it pass.
    """
    all_places = list(places)
    under_way = sum(not place.waits for place in all_places)
    return in_order(place for place in all_places if not place.held_back)[: max(0, limit - under_way)]


class Places(UserDict[tuple[str, str], Place]):
    """The living jobs by tenant and id. Changed in one thread, read from any.

    What follows from all of them is worked out when it is asked for after a change, not for each of ten thousand jobs anew.
    """

    def __init__(self, limit: int) -> None:
        """At most `limit` jobs are under way at once."""
        super().__init__()
        self._limit = limit
        self._changes = 0
        self._positions: tuple[int, dict[tuple[str, str], int], Place | None] = (-1, {}, None)
        """Changes that they take account of, positions, and who has the last."""
        self._next_ones: tuple[int, dict[Place, None]] = (-1, {})
        self.under_way = 0
        self.held_back = 0
        """Of those that wait."""

    def __setitem__(self, key: tuple[str, str], place: Place) -> None:
        before, changes = self.get(key), self._changes
        if before != place:
            super().__setitem__(key, place)
            self._count(before, -1)
            self._count(place, 1)
            if before is None and place.waits:
                self._put_last(changes, key, place)

    def __delitem__(self, key: tuple[str, str]) -> None:
        before = self[key]
        super().__delitem__(key)
        self._count(before, -1)

    @property
    def positions(self) -> dict[tuple[str, str], int]:
        """Of the waiting jobs; from 1, the next to start."""
        changes, found = self._changes, self._positions
        if found[0] != changes:
            waiting = in_order(list(self.data.values()))
            positions = {(place.tenant, place.job): at for at, place in enumerate(waiting, 1)}
            self._positions = found = changes, positions, waiting[-1] if waiting else None
        return found[1]

    @property
    def next_ones(self) -> dict[Place, None]:
        """Those that may start now, in order."""
        if self.under_way >= self._limit:
            return {}
        changes, found = self._changes, self._next_ones
        if found[0] != changes:
            found = changes, dict.fromkeys(admitted(list(self.data.values()), self._limit))
            self._next_ones = found
        return found[1]

    def _put_last(self, changes: int, key: tuple[str, str], place: Place) -> None:
        """Spares the sorting of all for a new one, which nearly always comes last."""
        known, positions, last = self._positions
        if known == changes and (last is None or in_order([place, last])[-1] is place):
            positions[key] = len(positions) + 1
            self._positions = self._changes, positions, place

    def _count(self, place: Place | None, by: int) -> None:
        self._changes += 1
        if place is not None:
            self.under_way += by * (not place.waits)
            self.held_back += by * (place.waits and place.held_back)
