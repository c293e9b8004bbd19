"""Callers: as many creates as are answered, creates at a steady rate, and crowds of watchers."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass, field

import grpc

from loramill import v1
from loramill.v1.training_service_pb2_grpc import TrainingServiceStub

_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 64 << 20))


@dataclass
class Answers:
    """Of calls, in seconds."""

    seconds: list[float] = field(default_factory=list)
    errors: int = 0
    lasted: float = 0.0

    @property
    def rate(self) -> float:
        """A second."""
        return len(self.seconds) / self.lasted

    def at(self, share: float) -> float:
        """The time within which this share of the calls was answered."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def _create(stub: TrainingServiceStub, spec: v1.TrainingSpec, answers: Answers, due: float | None = None) -> None:
    """`due` is when the call should have been made: waiting for its turn counts."""
    began = time.perf_counter() if due is None else due
    request = v1.CreateTrainingJobRequest(spec=spec, request_id=uuid.uuid4().hex)
    try:
        await stub.CreateTrainingJob(request, timeout=60)  # type: ignore[misc]
    except grpc.aio.AioRpcError:
        answers.errors += 1
    else:
        answers.seconds.append(time.perf_counter() - began)


async def as_many_as_possible(port: int, spec: v1.TrainingSpec, callers: int, seconds: float) -> Answers:
    """Each caller sends its next create when the last one is answered."""
    answers, end = Answers(), time.perf_counter() + seconds
    began = time.perf_counter()

    async def call(stub: TrainingServiceStub) -> None:
        while time.perf_counter() < end:
            await _create(stub, spec, answers)

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        stub = TrainingServiceStub(channel)
        await asyncio.gather(*(call(stub) for _ in range(callers)))
    answers.lasted = time.perf_counter() - began
    return answers


async def at_a_rate(port: int, spec: v1.TrainingSpec, rate: float, seconds: float) -> Answers:
    """So many creates a second, whether the ones before are answered or not."""
    answers = Answers(lasted=seconds)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        stub = TrainingServiceStub(channel)
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(rate * seconds)):
                due = began + number / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                tasks.create_task(_create(stub, spec, answers, due))
    return answers


async def watched(port: int, jobs: list[str], streams: int, seconds: float, settled: asyncio.Event) -> list[float]:
    """Delays between the writing of a status, which says when that was, and its coming to each watcher, in seconds.

    `settled` is set once every stream has had its first answer (or had half a minute to get it).
    """
    delays: list[float] = []
    waiting, measuring = streams, False

    async def follow(stub: TrainingServiceStub, job: str) -> None:
        nonlocal waiting
        first = True
        call = stub.WatchTrainingJob(v1.WatchTrainingJobRequest(name=f"trainingJobs/{job}"))
        async for answer in call:  # type: ignore[attr-defined]
            if first:
                first, waiting = False, waiting - 1
                if not waiting:
                    settled.set()
            elif measuring and (stamp := answer.training_job.progress.message).isdecimal():
                delays.append(time.time() - int(stamp) / 1e9)

    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) for _ in range(8)]
    stubs = [TrainingServiceStub(channel) for channel in channels]
    tasks = [
        asyncio.create_task(follow(stubs[number % len(stubs)], jobs[number % len(jobs)])) for number in range(streams)
    ]
    try:
        async with asyncio.timeout(30):
            await settled.wait()
    except TimeoutError:
        settled.set()
    measuring = True
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for channel in channels:
        await channel.close()
    return delays
