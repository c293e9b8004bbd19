"""What belongs to a tenant is to another one as if it did not exist."""

from __future__ import annotations

from dataclasses import fields

import grpc
import pytest
from google.protobuf.message import Message

from loramill import v1
from loramill.v1.adapter_service_pb2_grpc import AdapterServiceStub
from loramill.v1.dataset_service_pb2_grpc import DatasetServiceStub
from loramill.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.service.auth.guarded import Guarded, bearer, code_of
from tests.service.auth.things import Metadata, Names, everything, spec_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOTHING = Names(
    "trainingJobs/0123456789abcdef",
    "datasets/0123456789abcdef",
    "datasets/fedcba9876543210",
    "adapters/0123456789abcdef-final",
)


def requests(names: Names) -> dict[str, Message]:
    """Every RPC that names something of a tenant."""
    file = v1.DatasetFile(path="2.png", sha256="0" * 64, size_bytes=1)
    header = v1.UploadFileHeader(dataset=names.open_dataset, file=file)
    by_service: dict[str, dict[str, Message]] = {
        "Training": {
            "GetTrainingJob": v1.GetTrainingJobRequest(name=names.job),
            "WatchTrainingJob": v1.WatchTrainingJobRequest(name=names.job),
            "CancelTrainingJob": v1.CancelTrainingJobRequest(name=names.job),
            "DeleteTrainingJob": v1.DeleteTrainingJobRequest(name=names.job),
            "ListTrainingMetrics": v1.ListTrainingMetricsRequest(name=names.job),
            "GetTrainingPreviews": v1.GetTrainingPreviewsRequest(name=names.job),
            "StreamTrainingLogs": v1.StreamTrainingLogsRequest(name=names.job, follow=True),
        },
        "Dataset": {
            "UploadFile": v1.UploadFileRequest(header=header),
            "FinalizeDataset": v1.FinalizeDatasetRequest(name=names.open_dataset),
            "GetDataset": v1.GetDatasetRequest(name=names.dataset),
            "GetDatasetReport": v1.GetDatasetReportRequest(name=names.dataset),
            "DeleteDataset": v1.DeleteDatasetRequest(name=names.dataset),
        },
        "Adapter": {
            "GetAdapter": v1.GetAdapterRequest(name=names.adapter),
            "DownloadAdapter": v1.DownloadAdapterRequest(name=names.adapter),
            "PromoteAdapter": v1.PromoteAdapterRequest(name=names.adapter),
            "DeleteAdapter": v1.DeleteAdapterRequest(name=names.adapter),
        },
    }
    return {
        f"/loramill.v1.{service}Service/{rpc}": request
        for service, rpcs in by_service.items()
        for rpc, request in rpcs.items()
    }


async def answers(service: Guarded, names: Names, caller: Metadata) -> dict[str, tuple[grpc.StatusCode, str]]:
    """What the caller hears by RPC, without the names."""
    found = {}
    for rpc, request in requests(names).items():
        code, message = await code_of(service.plain, rpc, caller, request.SerializeToString())
        for field in fields(names):
            message = message.replace(getattr(names, field.name), field.name)
        found[rpc] = code, message
    return found


async def test_what_is_anothers_is_not_found_as_what_does_not_exist(service: Guarded) -> None:
    robot, other = bearer(service.provider.token()), bearer(service.provider.token(sub="other"))
    names = await everything(service, "team-a", robot)
    heard = await answers(service, names, other)
    assert {code for code, _ in heard.values()} == {grpc.StatusCode.NOT_FOUND}
    assert heard == await answers(service, NOTHING, other)
    for rpc, request in requests(names).items():
        if "/Get" in rpc and not rpc.endswith("/GetDatasetReport"):  # no job has made one here
            assert await code_of(service.plain, rpc, robot, request.SerializeToString()) == (grpc.StatusCode.OK, "")


async def test_what_is_anothers_cannot_be_trained_on(service: Guarded) -> None:
    robot, other = bearer(service.provider.token()), bearer(service.provider.token(sub="other"))
    theirs, own = await everything(service, "team-a", robot), await everything(service, "team-b", other)
    training = TrainingServiceStub(service.plain)
    for spec, absent in (
        (spec_of(theirs.dataset), spec_of(NOTHING.dataset)),
        (spec_of(own.dataset, theirs.adapter), spec_of(own.dataset, NOTHING.adapter)),
    ):
        heard = []
        for asked in (spec, absent):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await training.CreateTrainingJob(v1.CreateTrainingJobRequest(spec=asked), metadata=other)
            heard.append(raised.value.code())
        assert heard[0] is heard[1]


async def test_lists_show_what_is_the_callers_own(service: Guarded) -> None:
    robot, other = bearer(service.provider.token()), bearer(service.provider.token(sub="other"))
    theirs = await everything(service, "team-a", robot)
    own = await everything(service, "team-b", other)
    training, datasets = TrainingServiceStub(service.plain), DatasetServiceStub(service.plain)
    adapters = AdapterServiceStub(service.plain)
    jobs = await training.ListTrainingJobs(v1.ListTrainingJobsRequest(page_size=1000), metadata=other)
    assert own.job in {job.name for job in jobs.training_jobs}
    assert theirs.job not in {job.name for job in jobs.training_jobs}
    found = await datasets.ListDatasets(v1.ListDatasetsRequest(page_size=1000), metadata=other)
    assert own.dataset in {dataset.name for dataset in found.datasets}
    assert theirs.dataset not in {dataset.name for dataset in found.datasets}
    request = v1.ListAdaptersRequest(training_job=theirs.job)
    assert not (await adapters.ListAdapters(request, metadata=other)).adapters
