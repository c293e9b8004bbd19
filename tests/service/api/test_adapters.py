from __future__ import annotations

import grpc
import pytest

from loramill import v1
from service.keys import TenantKeys
from store.records import put_record
from tests.service.api.api import Api, error_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_adapter_is_downloaded_in_pieces(api: Api) -> None:
    name = await api.job()
    trainer = await api.launched(name)
    trainer.claim()
    content = bytes(range(256)) * 9001
    adapter = trainer.commit(content=content)
    trainer.end()
    await api.until(name, v1.TRAINING_JOB_STATE_SUCCEEDED)
    # At once, before the index of adapters need be there.
    first, *pieces = [answer async for answer in api.adapters.DownloadAdapter(v1.DownloadAdapterRequest(name=adapter))]
    assert (first.file.file_name, first.file.size_bytes) == ("adapter.safetensors", len(content))
    assert b"".join(piece.data for piece in pieces) == content
    assert all(len(piece.data) <= 1 << 20 for piece in pieces)
    other = v1.DownloadAdapterRequest(name=adapter, format=v1.ADAPTER_FORMAT_REPORT)
    answer = await error_of(api.adapters.DownloadAdapter(other).read())
    assert answer.code == grpc.StatusCode.NOT_FOUND
    assert "no file of format REPORT; it has adapter.safetensors (KOHYA)" in answer.message


async def test_an_adapter_that_lost_bytes_is_not_given_out_as_whole(api: Api) -> None:
    name = await api.ended_job()
    adapter = (await api.get(name)).adapters[0]
    assert (await api.adapters.GetAdapter(v1.GetAdapterRequest(name=adapter))).name == adapter
    job = name.partition("/")[2]
    key = f"{TenantKeys('local').job(job).run(1).adapters_prefix}final/adapter.safetensors"
    api.service.store.delete(key)
    api.service.store.put_new(key, b"wei")
    call = api.adapters.DownloadAdapter(v1.DownloadAdapterRequest(name=adapter))
    assert (await call.read()).file.size_bytes == 7
    await call.read()
    assert (await error_of(call.read())).code == grpc.StatusCode.DATA_LOSS


async def test_adapters_are_listed_newest_job_first_and_by_step(api: Api) -> None:
    expected = []
    for _ in range(2):
        name = await api.job()
        trainer = await api.launched(name)
        trainer.claim()
        expected[:0] = [trainer.commit("000005", step=5), trainer.commit()]
        trainer.end()
        await api.until(name, v1.TRAINING_JOB_STATE_SUCCEEDED)
        of_job = await api.adapters.ListAdapters(v1.ListAdaptersRequest(training_job=name))
        assert [adapter.name for adapter in of_job.adapters] == expected[:2]
    seen: list[str] = []
    request = v1.ListAdaptersRequest(page_size=3)
    while True:
        page = await api.adapters.ListAdapters(request)
        seen += [adapter.name for adapter in page.adapters]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert [name for name in seen if name in expected] == expected
    assert len(seen) == len(set(seen))


async def test_adapters_of_a_line_that_was_given_up_keep_their_names_and_are_told_apart(api: Api) -> None:
    name = await api.job()
    trainer = await api.launched(name)
    trainer.claim()
    keys = TenantKeys("local").job(trainer.job)
    kept, given_up = trainer.commit("000003", step=3), trainer.commit("000006", b"given up", step=6)
    assert await abandoned(api, name) == {kept: False, given_up: False}
    opened = v1.Generation(schema_version=1, generation=1, from_step=4)
    put_record(api.service.store, f"{keys.line}generations/000001.json", opened)
    again = trainer.commit("000006-g1", b"done again", step=6, generation=1)
    final = trainer.commit()  # by a trainer that did not tell generations yet
    trainer.end()
    await api.until(name, v1.TRAINING_JOB_STATE_SUCCEEDED)
    expected = {kept: False, given_up: True, again: False, final: False}
    assert await abandoned(api, name) == expected
    assert list((await api.get(name)).adapters) == list(expected)
    promoted = await api.adapters.PromoteAdapter(v1.PromoteAdapterRequest(name=again))
    assert (promoted.preferred, promoted.abandoned, promoted.generation) == (True, False, 1)
    for adapter, content in ((given_up, b"given up"), (again, b"done again")):
        _, data = [one async for one in api.adapters.DownloadAdapter(v1.DownloadAdapterRequest(name=adapter))]
        assert data.data == content

    # That outlives the job as long as its adapters do, and goes with a deletion that is done once more then.
    delete = v1.DeleteTrainingJobRequest(name=name)
    await api.training.DeleteTrainingJob(delete)
    assert await abandoned(api, name) == expected
    for adapter in expected:
        await api.adapters.DeleteAdapter(v1.DeleteAdapterRequest(name=adapter))
    await api.training.DeleteTrainingJob(delete)
    assert [entry.key for entry in api.service.store.list(keys.root)] == [keys.tombstone]


async def abandoned(api: Api, job: str) -> dict[str, bool]:
    listed = await api.adapters.ListAdapters(v1.ListAdaptersRequest(training_job=job))
    return {adapter.name: adapter.abandoned for adapter in listed.adapters}


async def test_a_deleted_adapter_is_gone_and_stays_gone(api: Api) -> None:
    name = await api.ended_job()
    adapter = (await api.get(name)).adapters[0]
    await api.adapters.DeleteAdapter(v1.DeleteAdapterRequest(name=adapter))
    keys = TenantKeys("local")
    job = name.partition("/")[2]
    manifest = keys.job(job).run(1).adapter_manifest("final")
    # A slow writer brings the index entry back.
    api.service.store.put_new(keys.adapter(f"{job}-final"), manifest.encode())
    assert (
        await error_of(api.adapters.GetAdapter(v1.GetAdapterRequest(name=adapter)))
    ).code == grpc.StatusCode.NOT_FOUND
    listed = await api.adapters.ListAdapters(v1.ListAdaptersRequest(training_job=name))
    assert list(listed.adapters) == []
    assert list((await api.get(name)).adapters) == []
    await api.adapters.DeleteAdapter(v1.DeleteAdapterRequest(name=adapter))  # again is accepted


async def test_an_interrupted_deletion_hides_the_adapter_and_is_finished_by_the_next(api: Api) -> None:
    name = await api.ended_job()
    adapter = (await api.get(name)).adapters[0]
    assert (await api.adapters.GetAdapter(v1.GetAdapterRequest(name=adapter))).name == adapter
    keys = TenantKeys("local")
    put_record(api.service.store, keys.deleted_adapter(adapter.partition("/")[2]), v1.Tombstone())
    assert (
        await error_of(api.adapters.GetAdapter(v1.GetAdapterRequest(name=adapter)))
    ).code == grpc.StatusCode.NOT_FOUND
    await api.adapters.DeleteAdapter(v1.DeleteAdapterRequest(name=adapter))
    folder = keys.job(name.partition("/")[2]).run(1).adapters_prefix
    assert list(api.service.store.list(folder)) == []


async def test_an_adapter_of_a_living_job_is_not_deleted(api: Api) -> None:
    name = await api.job()
    trainer = await api.launched(name)
    trainer.claim()
    adapter = trainer.commit("000005", step=5)
    answer = await error_of(api.adapters.DeleteAdapter(v1.DeleteAdapterRequest(name=adapter)))
    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "IN_USE")


async def preferred(api: Api, job: str) -> list[str]:
    listed = await api.adapters.ListAdapters(v1.ListAdaptersRequest(training_job=job))
    return [adapter.name for adapter in listed.adapters if adapter.preferred]


async def test_an_adapter_that_was_saved_on_the_way_takes_the_place_of_the_final_one(api: Api) -> None:
    name = await api.job()
    trainer = await api.launched(name)
    trainer.claim()
    early, late, final = trainer.commit("000005", step=5), trainer.commit("000010", step=10), trainer.commit()
    trainer.end()
    await api.until(name, v1.TRAINING_JOB_STATE_SUCCEEDED)
    assert await preferred(api, name) == [final]
    for chosen in (early, early, late):
        answer = await api.adapters.PromoteAdapter(v1.PromoteAdapterRequest(name=chosen))
        assert (answer.name, answer.preferred) == (chosen, True)
        assert await preferred(api, name) == [chosen]
    promotions = TenantKeys("local").promotions_of(name.partition("/")[2])
    assert len(list(api.service.store.list(promotions))) == 2, "the same again is no promotion"
    assert not (await api.adapters.GetAdapter(v1.GetAdapterRequest(name=final))).preferred

    # What was promoted last and still exists counts.
    await api.adapters.DeleteAdapter(v1.DeleteAdapterRequest(name=late))
    assert await preferred(api, name) == [early]
    await api.adapters.DeleteAdapter(v1.DeleteAdapterRequest(name=early))
    assert await preferred(api, name) == [final]


async def test_what_does_not_exist_is_not_promoted(api: Api) -> None:
    answer = await error_of(
        api.adapters.PromoteAdapter(v1.PromoteAdapterRequest(name="adapters/0000000000000000-000005"))
    )
    assert answer.code == grpc.StatusCode.NOT_FOUND
