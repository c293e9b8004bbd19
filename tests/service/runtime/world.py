"""A small world to reconcile in: a store in memory, a pretended executor, jobs, and running reconcilers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from loramill import v1
from service import indexes
from service.executors import ABSENT, Execution, ExecutionState, KnownLaunch
from service.facts import JobFacts, read_facts
from service.keys import TenantKeys
from service.reconciler import Reconciler, ReconcilerSettings
from service.retry import RetryPolicy
from service.times import to_timestamp, utc_now
from store.object_store import AlreadyExists, NotFound, ObjectInfo, ObjectStore
from store.records import put_record
from tests.service.runtime.acts import Acts

TENANT = "local"
KEYS = TenantKeys(TENANT)
START = datetime(2026, 1, 1, tzinfo=UTC)
JOB = "0" * 15 + "j"
Script = Mapping[int, Sequence[str]]
"""Acts of a job's trainer by number of launch; the last one is played by all later launches too."""

SUCCESS: Script = {1: ["claim", "status", "adapter", "end"]}
QUICK = ReconcilerSettings(
    interval=timedelta(milliseconds=20),
    retry=RetryPolicy(first_delay=timedelta(0)),
    longest_wait=timedelta(seconds=0.2),
)


class MemoryStore:
    """The promises of ObjectStore, in a dictionary."""

    uri = "memory:///"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put_new(self, key: str, content: bytes | Path) -> None:
        with self._lock:
            if key in self.objects:
                raise AlreadyExists(key)
            self.objects[key] = content if isinstance(content, bytes) else content.read_bytes()

    def put_status(self, key: str, content: bytes) -> None:
        self.objects[key] = content

    def get(self, key: str) -> bytes:
        try:
            return self.objects[key]
        except KeyError:
            raise NotFound(key) from None

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return self.get(key)[start : start + length]

    def info(self, key: str) -> ObjectInfo:
        return ObjectInfo(key, len(self.get(key)), START)

    def fetch(self, key: str, path: Path) -> None:
        path.write_bytes(self.get(key))

    def list(self, prefix: str = "", after: str = "", at_once: int = 1000) -> Iterator[ObjectInfo]:  # noqa: ARG002
        return (self.info(key) for key in sorted(self.objects) if key.startswith(prefix) and key > after)

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)


class PretendedExecutor:
    """Plays the script of each launch at once. `starts` is the truth about how often each launch was started."""

    def __init__(self, store: ObjectStore, scripts: Mapping[str, Script] | Script = SUCCESS) -> None:
        self.store = store
        self.scripts = scripts
        self.starts: list[tuple[str, int]] = []
        self.stops: list[tuple[str, int]] = []
        self.executions: dict[tuple[str, int], Execution] = {}
        self.begun: dict[tuple[str, int], datetime] = {}
        self.most_at_once = 0
        self._lock = threading.Lock()

    def launch(self, tenant: str, job: str, number: int, assignment: v1.Assignment, assignment_uri: str) -> None:
        assert assignment.launch == number
        assert assignment_uri == self.store.uri + TenantKeys(tenant).job(job).launch(number)
        with self._lock:
            if (job, number) in self.executions:
                return
            self.starts.append((job, number))
            self.begun[job, number] = utc_now()
            self.executions[job, number] = Execution(ExecutionState.RUNNING)
            self.most_at_once = max(self.most_at_once, sum(each.alive for each in self.executions.values()))
        script: Script = self.scripts.get(job) or self.scripts  # type: ignore[assignment, call-overload]
        self.exit(job, number, self.acts(job, number).play(script[min(number, max(script))]))

    def acts(self, job: str, number: int) -> Acts:
        return Acts(self.store, KEYS.job(job).run(number).root, job)

    def exit(self, job: str, number: int, code: int | None) -> None:
        if code is not None:
            self.executions[job, number] = Execution(ExecutionState.EXITED, code, end_time=utc_now())

    def observe(self, tenant: str, job: str, number: int) -> Execution:
        del tenant
        return self.executions.get((job, number), ABSENT)

    def known(self) -> list[KnownLaunch]:
        return [KnownLaunch(TENANT, *launch, self.begun.get(launch, START)) for launch in self.executions]

    def stop(self, tenant: str, job: str, number: int) -> None:
        del tenant
        self.stops.append((job, number))
        if self.executions[job, number].alive:
            self.exit(job, number, v1.EXIT_CODE_CANCELLED)

    def forget(self, tenant: str, job: str, number: int) -> None:
        del tenant
        self.executions.pop((job, number), None)

    def read_log(self, tenant: str, job: str, number: int, offset: int) -> bytes | None:
        del tenant, job, number, offset
        return None


def create_record(job: str = JOB, age: timedelta = timedelta(0)) -> v1.CreateRecord:
    return v1.CreateRecord(
        job_id=job,
        spec=v1.TrainingSpec(base_model="baseModels/shapes", dataset=v1.DatasetSpec(dataset=f"datasets/{JOB}")),
        create_time=to_timestamp(utc_now() - age),
        warnings=["a warning"],
    )


def submit(store: ObjectStore, job: str = JOB, age: timedelta = timedelta(0)) -> None:
    """As CreateTrainingJob does it."""
    record, key = create_record(job, age), KEYS.request(job)
    put_record(store, key, record)
    indexes.accept(store, TENANT, key, record)


def cancel(store: ObjectStore, job: str = JOB) -> None:
    put_record(store, KEYS.job(job).cancel, v1.CancelIntent(create_time=to_timestamp(utc_now())))


def facts_of(store: ObjectStore, job: str = JOB) -> JobFacts:
    facts = read_facts(store, TENANT, job)
    assert facts is not None
    return facts


def outcome_of(store: ObjectStore, job: str = JOB) -> v1.Outcome:
    outcome = facts_of(store, job).outcome
    assert outcome is not None
    return outcome


def listed(store: ObjectStore, prefix: str) -> list[str]:
    return [entry.key.removeprefix(prefix) for entry in store.list(prefix)]


def has_left(store: ObjectStore, *jobs: str) -> Callable[[], bool]:
    """Whether the jobs have ended, are indexed, and are not among the living any more."""
    wanted = jobs or (JOB,)

    def holds() -> bool:
        ended = {entry.partition(".")[0] for entry in listed(store, KEYS.ended_prefix)}
        return set(wanted) <= ended and not set(wanted) & set(listed(store, KEYS.active_prefix))

    return holds


@contextlib.asynccontextmanager
async def running(*reconcilers: Reconciler) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(reconciler.run()) for reconciler in reconcilers]
    try:
        yield
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(holds: Callable[[], bool], limit: float = 20.0) -> None:
    """Looks again and again until it holds."""
    end = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < end, f"did not come to hold within {limit} seconds"
        await asyncio.sleep(0.01)
