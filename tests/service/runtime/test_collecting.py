"""When the collector passes: on the replica that leads, again after a failure, and not beyond the service's end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from service import collecting
from service.collecting import CollectorCounts
from service.retention import Kind, Retention
from store.object_store import StoreUnavailable
from tests.service.runtime.retention_world import DAY, KEYS, World
from tests.service.runtime.world import until


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "_FIRST_PAUSE", timedelta(0))


@pytest.fixture
def world() -> World:
    """With one cache entry that is over, by the service's own clock."""
    world = World(Retention(removals_per_second=1000))
    world.store.put_new(f"{KEYS.caches}x", b"12345")
    world.store.written[f"{KEYS.caches}x"] -= 10_000 * DAY
    return world


class Service:
    """What the composition root makes."""

    def __init__(self, world: World, leads: bool = True) -> None:
        self.registry = CollectorRegistry()
        counts = CollectorCounts(self.registry)
        self.asked = 0

        def lead() -> bool:
            self.asked += 1
            return leads

        self.collecting = collecting.collecting(
            world.store, world.jobs, world.datasets, world.adapters, world.retention, counts, lead
        )

    def counted(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"loramill_{name}", labels) or 0.0


async def test_the_replica_that_leads_collects_and_counts(world: World) -> None:
    service = Service(world)
    async with service.collecting:
        await until(lambda: service.counted("collector_last_pass_timestamp_seconds") > 0)
    assert world.keys() == []
    assert service.counted("collected_objects_total", kind=Kind.CACHE.value) == 1
    assert service.counted("collected_bytes_total", kind=Kind.CACHE.value) == 5


async def test_others_do_not(world: World) -> None:
    service = Service(world, leads=False)
    async with service.collecting:
        await until(lambda: service.asked > 0)
    assert world.keys() != []


async def test_an_operator_can_turn_it_off(world: World) -> None:
    world.retention = Retention(enabled=False)
    service = Service(world)
    async with service.collecting:
        assert service.asked == 0
    assert world.keys() != []


async def test_a_store_that_is_away_is_counted_and_removes_nothing(world: World) -> None:
    def away() -> None:
        raise StoreUnavailable("the store is away")

    world.store.before = away
    service = Service(world)
    async with service.collecting:
        await until(lambda: service.counted("collector_failures_total") == 1)
    assert len(world.store.objects) == 1


async def test_a_pass_under_way_ends_with_the_service(world: World) -> None:
    world.retention = Retention(removals_per_second=0.001)  # the pause outlasts every test
    service = Service(world)
    async with service.collecting:
        await until(lambda: service.asked > 0)
    assert world.keys() != []
