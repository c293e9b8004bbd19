"""What a job costs the object store while it trains: requests by verb in virtual time, and the dollars that they come to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest

from loramill import v1
from service import indexes
from service.executors import Execution, ExecutionState
from service.glances import Glances
from service.jobs import Jobs
from service.keys import is_written_once
from service.reconciler import Reconciler, ReconcilerSettings
from service.remembering import RememberingStore
from service.watch import Watches
from store.object_store import ObjectInfo
from store.records import put_record
from tests.service.runtime.virtual_time import VirtualLoop
from tests.service.runtime.world import KEYS, START, TENANT, MemoryStore, PretendedExecutor, cancel, submit

PRICES = {"GET": 0.4e-6, "LIST": 5e-6, "PUT": 5e-6}
"""Dollars of one request: S3 Standard, us-east-1."""
MINUTES = 10
AS_ON_A_CLUSTER = ReconcilerSettings(
    interval=timedelta(seconds=1), look_again=timedelta(seconds=10), jobs=100, tenants=(TENANT,)
)


class Counting(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.requests: Counter[str] = Counter()
        self.entries_wanted: dict[str, int] = {}

    def get(self, key: str) -> bytes:
        self.requests["GET"] += 1
        return super().get(key)

    def list(self, prefix: str = "", after: str = "", at_once: int = 1000) -> Iterator[ObjectInfo]:
        self.entries_wanted[prefix] = at_once
        self.requests["LIST"] += 1
        return (
            ObjectInfo(key, len(content), START)
            for key, content in sorted(self.objects.items())
            if key.startswith(prefix) and key > after
        )

    def put_new(self, key: str, content: object) -> None:
        self.requests["PUT"] += 1
        super().put_new(key, content)  # type: ignore[arg-type]


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()


def replica(
    store: Counting, executor: PretendedExecutor, loop: VirtualLoop, *, leads: bool
) -> tuple[Reconciler, Watches]:
    remembering = RememberingStore(store, is_written_once)
    reconciler = Reconciler(remembering, executor, AS_ON_A_CLUSTER, clock=loop.clock, leads=lambda: leads)
    jobs = Jobs(remembering, executor, reconciler.queue_position, None, clock=loop.clock)  # type: ignore[arg-type]
    glances = Glances(jobs, clock=loop.time)

    async def read(tenant: str, job: str) -> v1.TrainingJob:
        return await asyncio.to_thread(glances.read, tenant, job)

    return reconciler, Watches(read, 0.5)


def requests_of_an_hour(loop: VirtualLoop, jobs: int, *, replicas: int = 3, watched: bool = False) -> Counter[str]:
    """Of jobs that train all the while, by verb; one replica leads, and one watches the newest job if `watched`."""
    store = Counting()
    executor = PretendedExecutor(store, {1: ["claim", "status", "work"]})
    ids = [f"{number:015d}j" for number in range(jobs)]
    for job in ids:
        submit(store, job)
    parts = [replica(store, executor, loop, leads=not number) for number in range(replicas)]

    async def watch(watches: Watches) -> None:
        async for _ in watches.watch(TENANT, ids[0]):
            pass

    async def work() -> Counter[str]:
        tasks = [asyncio.create_task(reconciler.run()) for reconciler, _ in parts]
        if watched:
            tasks.append(asyncio.create_task(watch(parts[0][1])))
        await asyncio.sleep(5)
        assert all(executor.executions[job, 1].state is ExecutionState.RUNNING for job in ids)
        runs = Execution(ExecutionState.RUNNING, started_time=loop.clock(), node="node")  # as a cluster tells it
        executor.executions.update({(job, 1): runs for job in ids})
        await asyncio.sleep(25)  # everything is known
        before = store.requests.copy()
        await asyncio.sleep(60 * MINUTES)
        found = store.requests - before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return found

    found = loop.run_until_complete(work())
    return Counter({verb: count * 60 // MINUTES for verb, count in found.items()})


def dollars(requests: Counter[str]) -> float:
    return sum(PRICES[verb] * count for verb, count in requests.items())


def test_a_job_that_trains_costs_three_replicas_less_than_half_a_cent_an_hour(loop: VirtualLoop) -> None:
    none, one = requests_of_an_hour(loop, 0), requests_of_an_hour(loop, 1)
    of_the_job = one - none
    assert of_the_job["LIST"] == 0
    assert of_the_job["PUT"] == 0
    assert of_the_job["GET"] <= 3 * 360 * 7 + 100  # seven objects that may have come or changed, every ten seconds
    assert dollars(of_the_job) < 0.005


def test_a_list_reads_four_objects_of_a_job_that_was_cancelled_while_it_waited() -> None:
    store, ended = Counting(), 5
    for number in range(ended):
        job = f"{number:015d}c"
        submit(store, job)
        cancel(store, job)
        outcome = v1.Outcome(state=v1.TRAINING_JOB_STATE_CANCELLED)
        put_record(store, KEYS.job(job).outcome, outcome)
        indexes.put_ended(store, TENANT, job, outcome)
        indexes.clear_active(store, TENANT, job)
    jobs = Jobs(RememberingStore(store, is_written_once), PretendedExecutor(store), lambda *_: None, None)  # type: ignore[arg-type]
    store.requests.clear()
    assert len(jobs.page(TENANT, v1.ListTrainingJobsRequest(page_size=10)).training_jobs) == ended
    # Its record, its outcome, its first launch, which is not there, and its tombstone; beside the two indexes.
    assert store.requests == {"GET": 4 * ended, "LIST": 2}
    assert store.entries_wanted[KEYS.ended_prefix] == 11  # a page, and one more to know whether another one follows


def test_replicas_without_jobs_list_them_and_do_nothing_else(loop: VirtualLoop) -> None:
    none = requests_of_an_hour(loop, 0)
    assert set(none) == {"LIST"}
    assert none["LIST"] <= 3600 + 2 * 360 + 100  # who leads looks every second, the others every ten
    assert dollars(none) < 0.025


def test_who_watches_a_job_reads_one_object_most_of_the_time(loop: VirtualLoop) -> None:
    alone, watched = requests_of_an_hour(loop, 1, replicas=1), requests_of_an_hour(loop, 1, replicas=1, watched=True)
    of_the_watch = watched - alone
    assert of_the_watch["GET"] <= 2 * 3600 + 360 * 9
    assert of_the_watch["LIST"] <= 360 + 10
    assert dollars(of_the_watch) < 0.007


def test_looks_at_many_jobs_are_spread_over_the_time_between_two_of_one(loop: VirtualLoop) -> None:
    """A hundred looks at once would keep callers waiting for as long as they take."""
    store = Counting()
    executor = PretendedExecutor(store, {1: ["claim", "status", "work"]})
    for number in range(100):
        submit(store, f"{number:015d}s")
    reconciler, _ = replica(store, executor, loop, leads=True)

    async def work() -> list[int]:
        running = asyncio.create_task(reconciler.run())
        await asyncio.sleep(30.5)  # everything is known
        reads = []
        for _ in range(10):
            before = store.requests["GET"]
            await asyncio.sleep(1)
            reads.append(store.requests["GET"] - before)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return reads

    reads = loop.run_until_complete(work())
    assert min(reads) > 0
    assert max(reads) < sum(reads) / 4
