"""Places kept in order while they change: always what the pure functions say of all of them."""

from __future__ import annotations

import random
from datetime import timedelta

from service.admission import Place, Places, admitted, in_order
from tests.service.runtime.world import START


def test_what_follows_from_all_places_is_right_after_every_change() -> None:
    draw = random.Random(0)
    places = Places(limit=5)
    for _ in range(500):
        job = f"{draw.randrange(30):016d}"
        if draw.random() < 0.3:
            places.pop(("t", job), None)
        else:
            waits, held_back = draw.random() < 0.8, draw.random() < 0.2
            created = START + timedelta(seconds=draw.randrange(3))
            places["t", job] = Place("t", job, created, waits, held_back)
        all_places = list(places.values())
        assert list(places.next_ones) == admitted(all_places, 5)
        order = [(place.tenant, place.job) for place in in_order(all_places)]
        assert places.positions == {key: at for at, key in enumerate(order, 1)}
        assert places.under_way == sum(not place.waits for place in all_places)
        assert places.held_back == sum(place.waits and place.held_back for place in all_places)


def test_the_order_is_worked_out_once_while_nothing_changes() -> None:
    places = Places(limit=1)
    place = Place("t", "j", START, waits=True)
    places["t", "j"] = place
    before = places.positions
    places["t", "j"] = Place("t", "j", START, waits=True)  # the same again, as from each look
    assert places.positions is before
    places["t", "j"] = Place("t", "j", START, waits=False)
    assert places.positions is not before
    assert places.next_ones == {}


def test_a_new_job_at_the_end_moves_nobody_else() -> None:
    """Else each create would sort ten thousand waiting jobs."""
    places = Places(limit=1)
    places["t", "a"] = Place("t", "a", START, waits=True)
    before = places.positions
    places["t", "b"] = Place("t", "b", START + timedelta(seconds=1), waits=True)
    assert places.positions is before
    assert places.positions == {("t", "a"): 1, ("t", "b"): 2}
    places["t", "c"] = Place("t", "c", START - timedelta(seconds=1), waits=True)
    assert places.positions == {("t", "c"): 1, ("t", "a"): 2, ("t", "b"): 3}
