"""The data report of a dataset is that of the newest job on it that made one."""

from __future__ import annotations

import grpc
import pytest

from loramill import v1
from service import indexes
from service.keys import TenantKeys, dataset_name, job_name
from store.records import put_record
from tests.service.api.api import Api, error_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT, HTML = v1.DATASET_REPORT_FORMAT_TEXT, v1.DATASET_REPORT_FORMAT_HTML


async def new_dataset(api: Api) -> str:
    name: str = (await api.datasets.CreateDataset(v1.CreateDatasetRequest())).name
    return name


def put_job(api: Api, job: str, dataset: str, reports: dict[int, bytes], launches: int = 1) -> None:
    """An ended job on a dataset; some of its launches made a report."""
    store, keys = api.service.store, TenantKeys("local").job(job)
    spec = v1.TrainingSpec(dataset=v1.DatasetSpec(dataset=dataset))
    put_record(store, keys.record, v1.CreateRecord(schema_version=1, job_id=job, spec=spec))
    for launch in range(1, launches + 1):
        put_record(store, keys.launch(launch), v1.Assignment(schema_version=1, launch=launch))
        if launch in reports:
            store.put_new(keys.run(launch).data_report("report.txt"), reports[launch])
    indexes.put_ended(store, "local", job, v1.Outcome(state=v1.TRAINING_JOB_STATE_SUCCEEDED))


async def report_of(api: Api, name: str, format_: int = TEXT) -> tuple[v1.DatasetReport, bytes]:
    request = v1.GetDatasetReportRequest(name=name, format=format_)
    messages = [message async for message in api.datasets.GetDatasetReport(request)]
    return messages[0].report, b"".join(message.data for message in messages[1:])


async def test_the_newest_launch_of_the_newest_job_counts(api: Api) -> None:
    mine, other = await new_dataset(api), await new_dataset(api)
    large = b"newest " * 300_000  # more than one message
    put_job(api, "zzzzzzzzz0000003", mine, {1: b"old"})
    put_job(api, "zzzzzzzzz0000002", mine, {1: b"older launch", 2: large}, launches=3)
    put_job(api, "zzzzzzzzz0000001", other, {1: b"of another dataset"})
    report, content = await report_of(api, mine)
    assert content == large
    assert (report.training_job, report.launch) == (job_name("zzzzzzzzz0000002"), 2)
    assert report.size_bytes == len(large)
    assert report.create_time.seconds > 0


async def test_what_is_not_there_is_named(api: Api) -> None:
    mine = await new_dataset(api)
    nothing = await error_of(report_of(api, mine))
    assert nothing.code == grpc.StatusCode.NOT_FOUND
    assert f"No job has made a report of {mine} yet" in nothing.message
    put_job(api, "zzzzzzzzz0000004", mine, {1: b"text only"})
    assert (await error_of(report_of(api, mine, HTML))).code == grpc.StatusCode.NOT_FOUND
    missing = await error_of(report_of(api, dataset_name("zzzzzzzzz9999999")))
    assert missing.code == grpc.StatusCode.NOT_FOUND
    unknown = await error_of(report_of(api, mine, 99))
    assert unknown.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "choose of TEXT, JSON, HTML" in unknown.message
