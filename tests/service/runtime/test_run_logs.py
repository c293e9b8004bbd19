"""One log of a launch, whoever has it: live from the executor, and from the store what the executor has no more."""

from __future__ import annotations

import asyncio

import pytest

from loramill import v1
from service.audit import Audit
from service.executors import Execution, ExecutionState
from service.jobs import Jobs
from service.run_logs import RunLogs
from store.records import put_record
from tests.service.api.fakes import FakeExecutor
from tests.service.runtime.world import JOB, KEYS, TENANT, MemoryStore, submit

LINES = [b'{"step": %d, "time": "%d"}\n' % (number, number) for number in range(8)]


class World:
    def __init__(self) -> None:
        self.store, self.executor = MemoryStore(), FakeExecutor()
        submit(self.store)
        put_record(self.store, KEYS.job(JOB).launch(1), v1.Assignment(launch=1))
        self.executor.executions[TENANT, JOB, 1] = Execution(ExecutionState.RUNNING)
        jobs = Jobs(self.store, self.executor, lambda *_: None, Audit(self.store))
        self.logs = RunLogs(self.store, self.executor, jobs, 0.001, asyncio.Event())
        self.stored = 0

    def live(self, content: bytes | None) -> None:
        if content is None:
            del self.executor.logs[TENANT, JOB, 1]
        else:
            self.executor.logs[TENANT, JOB, 1] = content

    def keep(self, *lines: bytes) -> None:
        self.store.put_new(f"{KEYS.job(JOB).run(1).logs_prefix}{self.stored:06d}.jsonl", b"".join(lines))
        self.stored += 1

    def end(self) -> None:
        self.executor.exit(TENANT, JOB, 1, 0)

    def told(self, follow: bool = False) -> list[str]:
        async def read() -> list[str]:
            return [line async for line in self.logs.stream(TENANT, JOB, 1, follow)]

        return asyncio.run(read())


def text(*lines: bytes) -> list[str]:
    return [line.decode().rstrip("\n") for line in lines]


def test_live_while_it_is_there_and_stored_when_it_is_gone() -> None:
    world = World()
    world.keep(*LINES[:2])
    world.live(b"".join(LINES[:4]))
    assert world.told() == text(*LINES[:4])
    world.live(None)
    assert world.told() == text(*LINES[:2])
    world.keep(*LINES[2:])
    assert world.told() == text(*LINES)


@pytest.mark.parametrize("read", [len(LINES[0]), 40, 60, sum(map(len, LINES[:5])), sum(map(len, LINES))])
@pytest.mark.parametrize("chunks", [[8], [1] * 8, [3, 2, 3]])
def test_a_pod_that_goes_under_a_reader_loses_and_doubles_no_line(read: int, chunks: list[int]) -> None:
    """`read` bytes are read live."""
    world = World()
    lines = iter(LINES)
    for size in chunks:
        world.keep(*[next(lines) for _ in range(size)])
    world.live(b"".join(LINES)[:read])

    async def follow() -> list[str]:
        stream = world.logs.stream(TENANT, JOB, 1, True)
        first = await anext(stream)
        world.live(None)
        world.end()
        return [first, *[line async for line in stream]]

    assert asyncio.run(follow()) == text(*LINES)


def test_a_pod_that_goes_before_its_last_lines_are_stored() -> None:
    world = World()
    world.keep(*LINES[:2])
    world.live(b"".join(LINES[:4]))
    world.end()

    async def follow() -> list[str]:
        stream = world.logs.stream(TENANT, JOB, 1, True)
        first = await anext(stream)
        world.live(None)
        return [first, *[line async for line in stream]]

    assert asyncio.run(follow()) == text(*LINES[:4])


def test_a_pod_that_goes_within_its_first_line() -> None:
    world = World()
    world.keep(*LINES)
    world.live(LINES[0][:9])

    async def follow() -> list[str]:
        gone = asyncio.get_running_loop().call_later(0.05, lambda: (world.live(None), world.end()))
        told = [line async for line in world.logs.stream(TENANT, JOB, 1, True)]
        assert gone.when() <= asyncio.get_running_loop().time()
        return told

    assert asyncio.run(follow()) == text(*LINES)
