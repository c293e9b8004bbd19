"""What a tenant can have, made by one of its callers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loramill import v1
from loramill.v1.dataset_service_pb2_grpc import DatasetServiceStub
from loramill.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.service.api.fakes import FakeTrainer
from tests.service.auth.guarded import Guarded

Metadata = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Names:
    """One of each kind."""

    job: str
    dataset: str
    open_dataset: str
    adapter: str


async def everything(service: Guarded, tenant: str, caller: Metadata) -> Names:
    """Makes one of each kind; `caller` must be of the tenant."""
    datasets, training = DatasetServiceStub(service.plain), TrainingServiceStub(service.plain)
    dataset = (await datasets.CreateDataset(v1.CreateDatasetRequest(), metadata=caller)).name
    for path in ("1.png", "1.txt"):
        await datasets.UploadFile(_pieces(dataset, path, path.encode()), metadata=caller)
    await datasets.FinalizeDataset(v1.FinalizeDatasetRequest(name=dataset), metadata=caller)
    job = await training.CreateTrainingJob(v1.CreateTrainingJobRequest(spec=spec_of(dataset)), metadata=caller)
    return Names(
        job.name,
        dataset,
        (await datasets.CreateDataset(v1.CreateDatasetRequest(), metadata=caller)).name,
        FakeTrainer(service.service.store, service.executor, job.name, tenant=tenant).commit(),
    )


def _pieces(dataset: str, path: str, content: bytes) -> Iterator[v1.UploadFileRequest]:
    file = v1.DatasetFile(path=path, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    yield v1.UploadFileRequest(header=v1.UploadFileHeader(dataset=dataset, file=file))
    yield v1.UploadFileRequest(data=content)


def spec_of(dataset: str, initial_adapter: str = "") -> v1.TrainingSpec:
    spec = v1.TrainingSpec(base_model="baseModels/shapes")
    spec.dataset.dataset = dataset
    spec.concept.activation_tag = "zyx"
    spec.adapter.initial_adapter = initial_adapter
    return spec
