"""The collector at work: pass after pass, on the one replica that also admits jobs, and what it counts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from service.adapters import Adapters
from service.collector import Collector
from service.datasets import Datasets
from service.jobs import Jobs
from service.remover import Remover, Stopped
from service.retention import Kind, Retention
from store.object_store import ObjectStore, StoreError

log = structlog.get_logger(__name__)

_FIRST_PAUSE = timedelta(minutes=10)
"""A service that starts has other things to do; one that restarts daily has to collect all the same."""


class CollectorCounts:
    """What the collector has removed, by kind."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._objects = Counter("loramill_collected_objects", "Objects removed.", ["kind"], registry=registry)
        self._bytes = Counter("loramill_collected_bytes", "Bytes of removed objects.", ["kind"], registry=registry)
        for kind in Kind:  # from 0 on, so that what is never removed is not taken for what is not measured
            self.removed(kind, 0, 0)
        self._failures = Counter("loramill_collector_failures", "Passes that ended early.", registry=registry)
        self._last = Gauge(
            "loramill_collector_last_pass_timestamp_seconds", "When a pass last came to its end.", registry=registry
        )

    def removed(self, kind: Kind, objects: int, size: int) -> None:
        self._objects.labels(kind.value).inc(objects)
        self._bytes.labels(kind.value).inc(size)

    def passed(self) -> None:
        self._last.set_to_current_time()

    def failed(self) -> None:
        self._failures.inc()


@asynccontextmanager
async def collecting(
    store: ObjectStore,
    jobs: Jobs,
    datasets: Datasets,
    adapters: Adapters,
    retention: Retention,
    counts: CollectorCounts,
    leads: Callable[[], bool],
) -> AsyncIterator[None]:
    """Collects while it is entered, as long as `leads` says so. When it is left, a pass under way ends at its next removal."""
    if not retention.enabled:
        yield
        return
    stopped = threading.Event()
    remover = Remover(store, counts, stopped, 1 / retention.removals_per_second, retention.dry_run)
    collector = Collector(store, jobs, datasets, adapters, remover, retention)
    task = asyncio.create_task(_pass_after_pass(collector, counts, leads), name="collector")
    try:
        yield
    finally:
        stopped.set()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _pass_after_pass(collector: Collector, counts: CollectorCounts, leads: Callable[[], bool]) -> None:
    interval = collector.retention.interval
    pause = min(interval, _FIRST_PAUSE)
    while True:
        await asyncio.sleep(pause.total_seconds())
        pause = interval
        if not leads():
            continue
        try:
            await asyncio.to_thread(collector.run)
            counts.passed()
        except Stopped:
            return
        except StoreError as error:
            counts.failed()
            log.warning("collecting ended early; the next pass goes on", error=str(error))
        except Exception:
            counts.failed()
            log.exception("collecting failed; it is tried again")
