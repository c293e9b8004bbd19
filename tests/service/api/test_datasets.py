from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from loramill import v1
from service.keys import TenantKeys
from store.records import put_record
from tests.service.api.api import Api, error_of, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def staged(api: Api) -> list[str]:
    return files_below(api.models.parent / "data/staging")


async def test_a_dataset_goes_from_open_to_finalized(api: Api) -> None:
    opened = await api.datasets.CreateDataset(v1.CreateDatasetRequest(dataset=v1.Dataset(display_name="dogs")))
    assert (opened.state, opened.digest) == (v1.DATASET_STATE_OPEN, "")
    large = b"x" * (2 << 20)
    for path, content in (("b.txt", b"a dog"), ("10_dog/a.png", large)):
        await api.upload(opened.name, path, content)
    frozen = await api.datasets.FinalizeDataset(v1.FinalizeDatasetRequest(name=opened.name))
    lines = f"{hashlib.sha256(large).hexdigest()}  10_dog/a.png\n{hashlib.sha256(b'a dog').hexdigest()}  b.txt\n"
    assert frozen.digest == hashlib.sha256(lines.encode()).hexdigest()
    assert (frozen.state, frozen.file_count, frozen.size_bytes) == (v1.DATASET_STATE_FINALIZED, 2, len(large) + 5)
    assert frozen.finalize_time.ToDatetime() >= frozen.create_time.ToDatetime()
    assert await api.datasets.FinalizeDataset(v1.FinalizeDatasetRequest(name=opened.name)) == frozen
    assert staged(api) == []


async def test_the_same_file_again_is_accepted_and_another_content_is_not(api: Api) -> None:
    name = (await api.datasets.CreateDataset(v1.CreateDatasetRequest())).name
    first = await api.upload(name, "a.png", b"one")
    assert await api.upload(name, "a.png", b"one") == first
    answer = await error_of(api.upload(name, "a.png", b"two"))
    assert answer.code == grpc.StatusCode.ALREADY_EXISTS
    assert "a.png" in answer.message


@pytest.mark.parametrize(
    ("header", "field", "reason"),
    [
        ({"sha256": "0" * 64}, "header.file.sha256", "DIGEST_MISMATCH"),
        ({"size_bytes": 4}, "header.file.size_bytes", "SIZE_MISMATCH"),
        ({"size_bytes": 6}, "header.file.size_bytes", "SIZE_MISMATCH"),
        ({"sha256": "A" * 64}, "header.file.sha256", "INVALID_DIGEST"),
        ({"sha256": ""}, "header.file.sha256", "INVALID_DIGEST"),
        ({"size_bytes": -1}, "header.file.size_bytes", "OUT_OF_RANGE"),
        ({"size_bytes": (3 << 20) + 1}, "header.file.size_bytes", "OUT_OF_RANGE"),
    ],
)
async def test_nothing_is_kept_of_what_does_not_match(
    api: Api, header: dict[str, object], field: str, reason: str
) -> None:
    name = (await api.datasets.CreateDataset(v1.CreateDatasetRequest())).name
    answer = await error_of(api.upload(name, "a.png", b"hello", **header))
    assert answer.code == grpc.StatusCode.INVALID_ARGUMENT
    assert answer.reasons == {field: reason}
    root = TenantKeys("local").dataset(name.partition("/")[2]).root
    assert [entry.key for entry in api.service.store.list(root)] == [f"{root}dataset.json"]
    assert staged(api) == []


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../a.png",
        "a/../b.png",
        "a//b.png",
        "./a.png",
        "a/",
        "a\\b.png",
        "a\0.png",
        "a\nb.png",
        "ä" * 501,
    ],
)
async def test_paths_are_labels_that_lead_nowhere(api: Api, path: str) -> None:
    name = (await api.datasets.CreateDataset(v1.CreateDatasetRequest())).name
    answer = await error_of(api.upload(name, path, b"hello"))
    assert answer.reasons == {"header.file.path": "INVALID_PATH"}


async def test_every_violation_of_a_header_at_once(api: Api) -> None:
    answer = await error_of(api.upload("", "..", b"", sha256="x", size_bytes=-5))
    assert set(answer.violations) == {
        "header.dataset",
        "header.file.path",
        "header.file.sha256",
        "header.file.size_bytes",
    }


async def test_an_upload_needs_its_header_first(api: Api) -> None:
    async def pieces() -> AsyncIterator[v1.UploadFileRequest]:
        yield v1.UploadFileRequest(data=b"x")

    assert (await error_of(api.datasets.UploadFile(pieces()))).reasons == {"header": "REQUIRED"}


async def test_an_empty_dataset_is_not_finalized(api: Api) -> None:
    name = (await api.datasets.CreateDataset(v1.CreateDatasetRequest())).name
    answer = await error_of(api.datasets.FinalizeDataset(v1.FinalizeDatasetRequest(name=name)))
    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "DATASET_EMPTY")
    await api.upload(name, "a.png", b"one")
    assert (await api.datasets.FinalizeDataset(v1.FinalizeDatasetRequest(name=name))).file_count == 1


async def test_a_finalized_dataset_takes_no_file_but_knows_those_it_has(api: Api) -> None:
    name = await api.dataset("a.png")
    answer = await error_of(api.upload(name, "b.png", b"late"))
    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "DATASET_FINALIZED")
    assert (await api.upload(name, "a.png", b"a.png")).path == "a.png"


async def test_a_file_that_meets_the_seal_is_not_half_in(api: Api) -> None:
    name = (await api.datasets.CreateDataset(v1.CreateDatasetRequest())).name
    await api.upload(name, "a.png", b"one")
    put_record(api.service.store, TenantKeys("local").dataset(name.partition("/")[2]).seal, v1.DatasetSeal())
    assert (await error_of(api.upload(name, "b.png", b"two"))).code == grpc.StatusCode.ABORTED
    assert (await api.datasets.FinalizeDataset(v1.FinalizeDatasetRequest(name=name))).file_count == 1


async def test_what_was_answered_is_in_and_what_was_refused_is_not(api: Api) -> None:
    """Uploads that race with finalizing: the digest must be over exactly those that were accepted."""
    name = (await api.datasets.CreateDataset(v1.CreateDatasetRequest())).name
    await api.upload(name, "0.png", b"0")
    uploads = [asyncio.create_task(_accepted(api, name, f"{n}.png")) for n in range(1, 25)]
    await uploads[3]
    frozen = await api.datasets.FinalizeDataset(v1.FinalizeDatasetRequest(name=name))
    accepted = {"0.png", *[path for path in await asyncio.gather(*uploads) if path is not None]}
    lines = "".join(f"{_digest_of(path)}  {path}\n" for path in sorted(accepted))
    assert frozen.digest == hashlib.sha256(lines.encode()).hexdigest()


def _digest_of(path: str) -> str:
    return hashlib.sha256(path.removesuffix(".png").encode()).hexdigest()


async def _accepted(api: Api, name: str, path: str) -> str | None:
    while True:
        try:
            await api.upload(name, path, path.removesuffix(".png").encode())
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.FAILED_PRECONDITION:
                return None
            if error.code() != grpc.StatusCode.ABORTED:
                raise
            continue
        return path


async def test_a_request_id_opens_one_dataset(api: Api) -> None:
    request = v1.CreateDatasetRequest(dataset=v1.Dataset(display_name="dogs"), request_id="r")
    answers = await asyncio.gather(*(api.datasets.CreateDataset(request) for _ in range(8)))
    assert len({answer.name for answer in answers}) == 1
    other = v1.CreateDatasetRequest(dataset=v1.Dataset(display_name="cats"), request_id="r")
    assert (await error_of(api.datasets.CreateDataset(other))).code == grpc.StatusCode.ALREADY_EXISTS
    await api.datasets.DeleteDataset(v1.DeleteDatasetRequest(name=answers[0].name))
    assert (await error_of(api.datasets.CreateDataset(request))).reason == "DATASET_DELETED"


async def test_pages_of_datasets_newest_first(api: Api) -> None:
    names = [(await api.datasets.CreateDataset(v1.CreateDatasetRequest())).name for _ in range(5)]
    seen: list[str] = []
    token = ""
    while True:
        page = await api.datasets.ListDatasets(v1.ListDatasetsRequest(page_size=2, page_token=token))
        seen += [dataset.name for dataset in page.datasets]
        token = page.next_page_token
        if not token:
            break
    assert set(names) <= set(seen)
    assert seen == sorted(set(seen))


async def test_a_dataset_in_use_is_not_deleted(api: Api) -> None:
    spec = await api.spec()
    job = await api.training.CreateTrainingJob(v1.CreateTrainingJobRequest(spec=spec))
    delete = v1.DeleteDatasetRequest(name=spec.dataset.dataset)
    answer = await error_of(api.datasets.DeleteDataset(delete))
    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "IN_USE")
    assert job.name in answer.message
    await api.launched(job.name)
    await api.training.CancelTrainingJob(v1.CancelTrainingJobRequest(name=job.name))
    await api.until(job.name, v1.TRAINING_JOB_STATE_CANCELLED)

    async def gone() -> bool:
        try:
            await api.datasets.DeleteDataset(delete)
        except grpc.aio.AioRpcError:
            return False
        return True

    await eventually(gone)
    answer = await error_of(api.datasets.GetDataset(v1.GetDatasetRequest(name=spec.dataset.dataset)))
    assert answer.code == grpc.StatusCode.NOT_FOUND
    root = TenantKeys("local").dataset(spec.dataset.dataset.partition("/")[2]).root
    assert [entry.key for entry in api.service.store.list(root)] == [f"{root}tombstone.json"]
