"""Adapters from elsewhere, and jobs that go on from an adapter."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import grpc
import pytest

from loramill import v1
from service.keys import TenantKeys
from store.records import read_record
from tests.service.api.adapter_files import LORA, safetensors
from tests.service.api.api import Api, error_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTENT = safetensors(LORA)


async def upload(api: Api, content: bytes = CONTENT, *, header_alone: bool = False, **header: object) -> v1.Adapter:
    """`header` replaces what would be announced.

    Where the header will be refused it is sent alone: grpc.aio's caller may else see its own broken stream before the answer.
    """
    announced = {
        "file_name": "mine.safetensors",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        **header,
    }

    async def pieces() -> AsyncIterator[v1.UploadAdapterRequest]:
        yield v1.UploadAdapterRequest(header=v1.UploadAdapterHeader(**announced))  # type: ignore[arg-type]
        if not header_alone:
            yield v1.UploadAdapterRequest(data=content)

    return await api.adapters.UploadAdapter(pieces())


async def download(api: Api, name: str, file_name: str = "") -> bytes:
    request = v1.DownloadAdapterRequest(name=name, file_name=file_name)
    return b"".join([answer.data async for answer in api.adapters.DownloadAdapter(request)])


def keys_of_uploads(api: Api) -> list[str]:
    return [
        entry.key
        for folder in ("uploaded-adapters/", "adapter-requests/")
        for entry in api.service.store.list(f"local/{folder}")
    ]


def audited(api: Api, name: str) -> list[str]:
    entries = [read_record(api.service.store, e.key, v1.AuditRecord) for e in api.service.store.list("local/audit/")]
    return [entry.method.rpartition("/")[2] for entry in entries if entry is not None and entry.resource == name]


async def test_an_uploaded_adapter_is_listed_got_downloaded_and_deleted(api: Api) -> None:
    adapter = await upload(api)
    assert (adapter.type, adapter.rank, adapter.training_job, adapter.base_model) == (v1.ADAPTER_TYPE_LORA, 4, "", "")
    assert adapter.tensors_sha256
    assert adapter.create_time.seconds
    (file,) = adapter.files
    assert (file.format, file.file_name, file.size_bytes, file.sha256) == (
        v1.ADAPTER_FORMAT_KOHYA,
        "mine.safetensors",
        len(CONTENT),
        hashlib.sha256(CONTENT).hexdigest(),
    )
    assert await api.adapters.GetAdapter(v1.GetAdapterRequest(name=adapter.name)) == adapter
    assert adapter in (await api.adapters.ListAdapters(v1.ListAdaptersRequest())).adapters
    assert await download(api, adapter.name) == CONTENT
    assert audited(api, adapter.name) == ["UploadAdapter"]
    refused = await error_of(api.adapters.PromoteAdapter(v1.PromoteAdapterRequest(name=adapter.name)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_JOB")
    await api.adapters.DeleteAdapter(v1.DeleteAdapterRequest(name=adapter.name))
    answer = await error_of(api.adapters.GetAdapter(v1.GetAdapterRequest(name=adapter.name)))
    assert answer.code == grpc.StatusCode.NOT_FOUND
    assert not [key for key in keys_of_uploads(api) if adapter.name.partition("/")[2] in key]


async def test_a_request_id_makes_one_adapter_of_one_file(api: Api) -> None:
    first = await upload(api, request_id="once")
    assert await upload(api, request_id="once") == first
    assert audited(api, first.name) == ["UploadAdapter"]
    answer = await error_of(upload(api, safetensors(LORA, note="another"), header_alone=True, request_id="once"))
    assert answer.code == grpc.StatusCode.ALREADY_EXISTS
    assert first.name in answer.message
    assert await upload(api) != await upload(api)
    await api.adapters.DeleteAdapter(v1.DeleteAdapterRequest(name=first.name))
    answer = await error_of(upload(api, header_alone=True, request_id="once"))
    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ADAPTER_DELETED")


async def test_of_files_that_come_at_once_with_one_request_id_one_is_kept(api: Api) -> None:
    contents = [safetensors(LORA, note=str(number)) for number in range(4)]
    calls = (upload(api, content, request_id="race") for content in contents)
    answers = await asyncio.gather(*calls, return_exceptions=True)
    made = [answer for answer in answers if isinstance(answer, v1.Adapter)]
    assert len(made) == 1
    assert await download(api, made[0].name) == contents[answers.index(made[0])]
    refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert [answer.code() for answer in refused] == [grpc.StatusCode.ALREADY_EXISTS] * 3


async def test_a_half_made_upload_is_completed_by_a_repetition(api: Api) -> None:
    """The service died behind the one PUT that makes an adapter."""
    adapter = await upload(api, request_id="half")
    keys, id_ = TenantKeys("local"), adapter.name.partition("/")[2]
    uploaded = keys.uploaded_adapter(id_)
    for key in (keys.adapter(id_), uploaded.manifest, uploaded.file("mine.safetensors")):
        api.service.store.delete(key)
    assert await upload(api, request_id="half") == adapter
    assert await download(api, adapter.name) == CONTENT


@pytest.mark.parametrize(
    ("header", "field", "reason"),
    [
        ({"file_name": ""}, "header.file_name", "INVALID_NAME"),
        ({"file_name": "a.ckpt"}, "header.file_name", "PICKLE"),
        ({"file_name": "a.PT"}, "header.file_name", "PICKLE"),
        ({"file_name": "a.txt"}, "header.file_name", "INVALID_NAME"),
        ({"file_name": "../a.safetensors"}, "header.file_name", "INVALID_NAME"),
        ({"file_name": ".safetensors"}, "header.file_name", "INVALID_NAME"),
        ({"file_name": "a\n.safetensors"}, "header.file_name", "INVALID_NAME"),
        ({"file_name": "a" * 189 + ".safetensors"}, "header.file_name", "INVALID_NAME"),
        ({"sha256": "0" * 64}, "header.sha256", "DIGEST_MISMATCH"),
        ({"sha256": "x"}, "header.sha256", "INVALID_DIGEST"),
        ({"size_bytes": 0}, "header.size_bytes", "OUT_OF_RANGE"),
        ({"size_bytes": (1 << 20) + 1}, "header.size_bytes", "OUT_OF_RANGE"),
        ({"size_bytes": len(CONTENT) - 1}, "header.size_bytes", "SIZE_MISMATCH"),
        ({"size_bytes": len(CONTENT) + 1}, "header.size_bytes", "SIZE_MISMATCH"),
        ({"request_id": "x" * 201}, "header.request_id", "OUT_OF_RANGE"),
    ],
)
async def test_nothing_is_kept_of_what_is_wrong(api: Api, header: dict[str, object], field: str, reason: str) -> None:
    before = keys_of_uploads(api)
    answer = await error_of(upload(api, header_alone=not reason.endswith("MISMATCH"), **header))
    assert (answer.code, answer.reasons) == (grpc.StatusCode.INVALID_ARGUMENT, {field: reason})
    assert keys_of_uploads(api) == before
    assert list((api.models.parent / "data/staging").iterdir()) == []


async def test_what_is_no_adapter_is_refused_by_name(api: Api) -> None:
    for content, part in ((b"\x80\x04}q\x00.", "no whole safetensors file"), (safetensors({"a.b": (1,)}), "'a.b'")):
        answer = await error_of(upload(api, content))
        assert answer.reasons == {"data": "UNSUITABLE_ADAPTER"}
        assert answer.message.startswith("mine.safetensors ")
        assert part in answer.message


async def test_a_file_is_chosen_by_name_or_by_format(api: Api) -> None:
    name = (await upload(api)).name
    assert await download(api, name, "mine.safetensors") == CONTENT
    answer = await error_of(download(api, name, "other.zip"))
    assert (answer.code, "it has mine.safetensors (KOHYA)" in answer.message) == (grpc.StatusCode.NOT_FOUND, True)
    both = v1.DownloadAdapterRequest(name=name, file_name="a", format=v1.ADAPTER_FORMAT_PEFT)
    assert (await error_of(api.adapters.DownloadAdapter(both).read())).reasons == {"file_name": "CONFLICT"}


async def going_on_from(api: Api, name: str) -> v1.TrainingJob:
    spec = await api.spec()
    spec.adapter.initial_adapter = name
    return await api.training.CreateTrainingJob(v1.CreateTrainingJobRequest(spec=spec))


async def test_a_job_goes_on_from_the_very_file_that_was_there(api: Api) -> None:
    job = await going_on_from(api, (await upload(api)).name)
    assert (job.spec.adapter.type, job.spec.adapter.HasField("rank")) == (v1.ADAPTER_TYPE_LORA, False)
    trainer = await api.launched(job.name)
    assignment = read_record(api.service.store, TenantKeys("local").job(trainer.job).launch(1), v1.Assignment)
    assert assignment is not None
    assert assignment.initial_adapter_sha256 == hashlib.sha256(CONTENT).hexdigest()
    key = assignment.initial_adapter_uri.removeprefix(api.service.store.uri)
    assert api.service.store.get(key) == CONTENT


async def test_a_job_goes_on_from_what_another_trained(api: Api) -> None:
    trained = (await api.get(await api.ended_job())).adapters[0]
    job = await going_on_from(api, trained)
    trainer = await api.launched(job.name)
    assignment = read_record(api.service.store, TenantKeys("local").job(trainer.job).launch(1), v1.Assignment)
    assert assignment is not None
    assert assignment.initial_adapter_uri.endswith("/runs/1/adapters/final/adapter.safetensors")


async def test_what_a_living_job_goes_on_from_is_not_deleted(api: Api) -> None:
    source = await api.ended_job()
    trained, brought = (await api.get(source)).adapters[0], (await upload(api)).name
    jobs = [await going_on_from(api, name) for name in (trained, brought)]
    for name in (trained, brought):
        answer = await error_of(api.adapters.DeleteAdapter(v1.DeleteAdapterRequest(name=name)))
        assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "IN_USE")
    with_adapters = v1.DeleteTrainingJobRequest(name=source, delete_adapters=True)
    assert (await error_of(api.training.DeleteTrainingJob(with_adapters))).reason == "IN_USE"
    await api.training.DeleteTrainingJob(v1.DeleteTrainingJobRequest(name=source))
    assert await download(api, trained) == b"weights"
    for job in jobs:
        trainer = await api.launched(job.name)
        trainer.claim()
        trainer.end(v1.EXIT_CODE_USER_ERROR, "enough")
        await api.until(job.name, v1.TRAINING_JOB_STATE_FAILED)
    for name in (trained, brought):
        await api.adapters.DeleteAdapter(v1.DeleteAdapterRequest(name=name))
