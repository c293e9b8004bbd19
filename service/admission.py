"""Which of the waiting jobs start next: as they came, and never more at once than there are places. Pure."""

from __future__ import annotations

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
