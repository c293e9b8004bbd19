"""The shared poll, without a server."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from loramill import v1
from service.errors import NotAvailable, ResourceNotFound
from service.watch import Watches
from tests.service.api.api import eventually


class Source:
    """A job that the test moves on; counts how often it is read."""

    def __init__(self) -> None:
        self.job = v1.TrainingJob(name="j", state=v1.TRAINING_JOB_STATE_RUNNING)
        self.reads = 0
        self.error: Exception | None = None

    async def read(self, tenant: str, job: str) -> v1.TrainingJob:
        del tenant, job
        self.reads += 1
        if self.error is not None:
            raise self.error
        copy = v1.TrainingJob()
        copy.CopyFrom(self.job)
        return copy

    def move(self, step: int, state: v1.TrainingJobState.ValueType = v1.TRAINING_JOB_STATE_RUNNING) -> None:
        self.job.progress.step = step
        self.job.state = state


async def test_one_poll_serves_all_watchers_and_stops_with_the_last() -> None:
    source = Source()
    watches = Watches(source.read, interval=3600)
    streams = [watches.watch("t", "j") for _ in range(50)]
    for stream in streams:
        assert (await anext(stream)).state == v1.TRAINING_JOB_STATE_RUNNING
    assert (source.reads, watches.polls) == (1, 1)
    for stream in streams[:-1]:
        await stream.aclose()
    assert watches.polls == 1
    await streams[-1].aclose()
    assert watches.polls == 0


async def test_a_slow_watcher_gets_the_latest_state_next() -> None:
    source = Source()
    watches = Watches(source.read, interval=0)
    async with aclosing(watches.watch("t", "j")) as stream:
        await anext(stream)
        for step in (1, 2, 3):
            source.move(step)
            reads = source.reads
            await eventually(lambda reads=reads: _past(source, reads + 1))  # type: ignore[misc]
        assert (await anext(stream)).progress.step == 3
        source.move(4, v1.TRAINING_JOB_STATE_SUCCEEDED)
        assert (await anext(stream)).progress.step == 4
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def _past(source: Source, reads: int) -> bool:
    return source.reads > reads


async def test_an_error_reaches_every_watcher_and_the_next_one_begins_anew() -> None:
    source = Source()
    watches = Watches(source.read, interval=0)
    source.error = ResourceNotFound("gone")
    streams = [watches.watch("t", "j") for _ in range(3)]
    results = await asyncio.gather(*(anext(stream) for stream in streams), return_exceptions=True)
    assert [str(result) for result in results] == ["gone"] * 3
    source.error = None
    async with aclosing(watches.watch("t", "j")) as stream:
        assert (await anext(stream)).name == "j"


async def test_when_the_service_stops_watchers_are_told() -> None:
    source = Source()
    watches = Watches(source.read, interval=3600)
    stream = watches.watch("t", "j")
    await anext(stream)
    following = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await watches.stop()
    with pytest.raises(NotAvailable, match="job goes on"):
        await following
    with pytest.raises(NotAvailable):
        await anext(watches.watch("t", "j"))
