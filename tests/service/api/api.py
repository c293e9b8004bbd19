"""A caller of the service in tests: stubs, and the few steps that most tests begin with."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from google.rpc import error_details_pb2, status_pb2

from loramill import v1
from loramill.v1.adapter_service_pb2_grpc import AdapterServiceStub
from loramill.v1.base_model_service_pb2_grpc import BaseModelServiceStub
from loramill.v1.dataset_service_pb2_grpc import DatasetServiceStub
from loramill.v1.training_service_pb2_grpc import TrainingServiceStub
from service.composition import Service
from service.indexes import active_jobs
from service.keys import TenantKeys
from service.times import to_timestamp, utc_now
from store.records import put_record
from tests.service.api.fakes import FakeExecutor, FakeTrainer

if TYPE_CHECKING:
    from loramill.v1.adapter_service_pb2_grpc import AdapterServiceAsyncStub
    from loramill.v1.base_model_service_pb2_grpc import BaseModelServiceAsyncStub
    from loramill.v1.dataset_service_pb2_grpc import DatasetServiceAsyncStub
    from loramill.v1.training_service_pb2_grpc import TrainingServiceAsyncStub

PATIENCE = 10.0
"""Seconds that a test waits for what must come."""


@dataclass(frozen=True)
class Api:
    service: Service
    executor: FakeExecutor
    models: Path
    """The import root."""
    channel: grpc.aio.Channel
    training: TrainingServiceAsyncStub
    datasets: DatasetServiceAsyncStub
    adapters: AdapterServiceAsyncStub
    bases: BaseModelServiceAsyncStub

    @staticmethod
    @asynccontextmanager
    async def open(service: Service, executor: FakeExecutor, models: Path) -> AsyncIterator[Api]:
        async with grpc.aio.insecure_channel(service.address) as channel:
            yield Api(
                service,
                executor,
                models,
                channel,
                TrainingServiceStub(channel),
                DatasetServiceStub(channel),
                AdapterServiceStub(channel),
                BaseModelServiceStub(channel),
            )

    async def upload(self, dataset: str, path: str, content: bytes, **header: object) -> v1.DatasetFile:
        """Uploads a file; `header` replaces what would be announced of it."""
        announced = {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content), **header}

        async def pieces() -> AsyncIterator[v1.UploadFileRequest]:
            file = v1.DatasetFile(**announced)  # type: ignore[arg-type]
            yield v1.UploadFileRequest(header=v1.UploadFileHeader(dataset=dataset, file=file))
            for start in range(0, len(content), 1 << 20):
                yield v1.UploadFileRequest(data=content[start : start + (1 << 20)])

        return (await self.datasets.UploadFile(pieces())).file

    async def dataset(self, *paths: str) -> str:
        """A finalized dataset; its name."""
        name = (await self.datasets.CreateDataset(v1.CreateDatasetRequest())).name
        for path in paths or ("1.png", "1.txt"):
            await self.upload(name, path, path.encode())
        return (await self.datasets.FinalizeDataset(v1.FinalizeDatasetRequest(name=name))).name

    async def spec(self) -> v1.TrainingSpec:
        spec = v1.TrainingSpec(base_model="baseModels/shapes")
        spec.dataset.dataset = await self.dataset()
        spec.concept.activation_tag = "zyx"
        return spec

    async def job(self) -> str:
        """A job that waits or is launched; its name."""
        return (await self.training.CreateTrainingJob(v1.CreateTrainingJobRequest(spec=await self.spec()))).name

    async def ended_job(self) -> str:
        """A job that has succeeded with one adapter; its name."""
        name = await self.job()
        trainer = await self.launched(name)
        trainer.claim()
        trainer.commit()
        trainer.end()
        await self.until(name, v1.TRAINING_JOB_STATE_SUCCEEDED)
        return name

    def settle(self) -> None:
        """Ends all jobs that live."""
        keys, store = TenantKeys("local"), self.service.store
        outcome = v1.Outcome(state=v1.TRAINING_JOB_STATE_CANCELLED, create_time=to_timestamp(utc_now()))
        for job in active_jobs(store, "local"):
            put_record(store, keys.job(job).outcome, outcome)
            for launch in [launch for launch in self.executor.executions if launch[1] == job]:
                self.executor.exit(*launch, v1.EXIT_CODE_CANCELLED)

    async def launched(self, name: str, launch: int = 1) -> FakeTrainer:
        """The trainer of a job, once the executor was told to start it."""
        trainer = FakeTrainer(self.service.store, self.executor, name, launch)
        await eventually(lambda: _is(("local", trainer.job, launch) in self.executor.executions))
        return trainer

    async def get(self, name: str) -> v1.TrainingJob:
        return await self.training.GetTrainingJob(v1.GetTrainingJobRequest(name=name))

    async def until(self, name: str, state: v1.TrainingJobState.ValueType) -> v1.TrainingJob:
        async def reached() -> bool:
            return (await self.get(name)).state == state

        await eventually(reached)
        return await self.get(name)


async def _is(truth: bool) -> bool:
    return truth


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Returns when it holds; fails when it never does."""
    async with asyncio.timeout(PATIENCE):
        while not await holds():
            await asyncio.sleep(0.005)


@dataclass(frozen=True)
class Answer:
    """An error as a caller sees it."""

    code: grpc.StatusCode
    message: str
    reason: str
    violations: dict[str, str]
    """Description by field."""
    reasons: dict[str, str]
    """Reason by field."""


async def error_of(call: Awaitable[object]) -> Answer:
    """The error that a call must end with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return answer_of(error)
    raise AssertionError("the call succeeded")


def answer_of(error: grpc.aio.AioRpcError) -> Answer:
    metadata = {str(key): value for key, value in error.trailing_metadata()}
    status = status_pb2.Status.FromString(metadata.get("grpc-status-details-bin", b""))
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info) or detail.Unpack(bad)
    return Answer(
        error.code(),
        error.details() or "",
        info.reason,
        {violation.field: violation.description for violation in bad.field_violations},
        {violation.field: violation.reason for violation in bad.field_violations},
    )
