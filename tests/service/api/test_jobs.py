from __future__ import annotations

import asyncio
import itertools

import grpc
import pytest

from loramill import v1
from service.keys import TenantKeys, job_of_name
from tests.service.api.api import Api, error_of, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def listed(api: Api, *states: v1.TrainingJobState.ValueType, page_size: int = 2) -> list[v1.TrainingJob]:
    """All pages."""
    jobs: list[v1.TrainingJob] = []
    request = v1.ListTrainingJobsRequest(page_size=page_size, states=states)
    while True:
        page = await api.training.ListTrainingJobs(request)
        assert len(page.training_jobs) <= page_size
        jobs += page.training_jobs
        if not page.next_page_token:
            return jobs
        request.page_token = page.next_page_token


async def test_pages_are_newest_first_and_hold_each_job_once(api: Api) -> None:
    ended = [await api.ended_job() for _ in range(2)]
    living = [await api.job() for _ in range(3)]
    seen = [job.name for job in await listed(api)]
    assert seen == sorted(set(seen))
    assert {*ended, *living} <= set(seen)
    assert seen.index(living[-1]) < seen.index(ended[0])


async def test_a_filter_gives_only_its_states_and_reads_no_other_jobs(api: Api) -> None:
    ended, living = await api.ended_job(), await api.job()

    async def is_indexed() -> bool:
        return ended in [job.name for job in await listed(api, v1.TRAINING_JOB_STATE_SUCCEEDED)]

    await eventually(is_indexed)
    names = [job.name for job in await listed(api, v1.TRAINING_JOB_STATE_SUCCEEDED)]
    assert living not in names
    assert {job.state for job in await listed(api, v1.TRAINING_JOB_STATE_SUCCEEDED)} == {
        v1.TRAINING_JOB_STATE_SUCCEEDED
    }
    alive = await listed(api, v1.TRAINING_JOB_STATE_LAUNCHING, v1.TRAINING_JOB_STATE_QUEUED)
    assert living in [job.name for job in alive]
    # A record that cannot be read is met only by who asks for its state.
    keys = TenantKeys("local")
    api.service.store.put_new(keys.ended("zzzzzzzzzzzzzzzz", "FAILED"), b"")
    api.service.store.put_new(keys.job("zzzzzzzzzzzzzzzz").record, b"not a record")
    assert await listed(api, v1.TRAINING_JOB_STATE_SUCCEEDED)
    answer = await error_of(listed(api, v1.TRAINING_JOB_STATE_FAILED))
    assert (answer.code, answer.reason) == (grpc.StatusCode.DATA_LOSS, "DAMAGED_RECORD")
    api.service.store.delete(keys.ended("zzzzzzzzzzzzzzzz", "FAILED"))


async def test_a_page_token_belongs_to_its_filter(api: Api) -> None:
    for _ in range(2):
        await api.job()
    page = await api.training.ListTrainingJobs(v1.ListTrainingJobsRequest(page_size=1))
    other = v1.ListTrainingJobsRequest(page_token=page.next_page_token, states=[v1.TRAINING_JOB_STATE_FAILED])
    for request in (
        other,
        v1.ListTrainingJobsRequest(page_token="made up"),
        v1.ListTrainingJobsRequest(page_token="WzEsMl0="),
    ):
        answer = await error_of(api.training.ListTrainingJobs(request))
        assert answer.reasons == {"page_token": "INVALID_PAGE_TOKEN"}


@pytest.mark.parametrize("size", [-1, 1001])
async def test_a_page_has_a_size_within_bounds(api: Api, size: int) -> None:
    for call in (
        api.training.ListTrainingJobs(v1.ListTrainingJobsRequest(page_size=size)),
        api.datasets.ListDatasets(v1.ListDatasetsRequest(page_size=size)),
        api.adapters.ListAdapters(v1.ListAdaptersRequest(page_size=size)),
        api.bases.ListBaseModels(v1.ListBaseModelsRequest(page_size=size)),
    ):
        assert set((await error_of(call)).violations) == {"page_size"}


async def test_what_does_not_exist_is_not_found_and_a_bad_name_is_named(api: Api) -> None:
    missing = "trainingJobs/0123456789abcdef"
    for call in (
        api.training.GetTrainingJob(v1.GetTrainingJobRequest(name=missing)),
        api.training.CancelTrainingJob(v1.CancelTrainingJobRequest(name=missing)),
        api.training.DeleteTrainingJob(v1.DeleteTrainingJobRequest(name=missing)),
        api.training.ListTrainingMetrics(v1.ListTrainingMetricsRequest(name=missing)),
        api.adapters.GetAdapter(v1.GetAdapterRequest(name="adapters/0123456789abcdef-final")),
        api.datasets.GetDataset(v1.GetDatasetRequest(name="datasets/0123456789abcdef")),
        api.bases.GetBaseModel(v1.GetBaseModelRequest(name="baseModels/none")),
    ):
        assert (await error_of(call)).code == grpc.StatusCode.NOT_FOUND
    for name in ("", "trainingJobs/", "trainingJobs/../x", "0123456789abcdef"):
        answer = await error_of(api.training.GetTrainingJob(v1.GetTrainingJobRequest(name=name)))
        assert answer.reasons == {"name": "INVALID_NAME"}


async def test_watchers_see_the_state_at_once_every_end_and_one_poll_serves_them(api: Api) -> None:
    name = await api.job()
    trainer = await api.launched(name)
    calls = [api.training.WatchTrainingJob(v1.WatchTrainingJobRequest(name=name)) for _ in range(5)]
    seen: list[list[v1.TrainingJob]] = [[] for _ in calls]

    async def watch(place: int) -> None:
        async for answer in calls[place]:
            seen[place].append(answer.training_job)

    watching = [asyncio.create_task(watch(place)) for place in range(5)]
    await eventually(lambda: _all(bool(states) for states in seen))
    trainer.claim()
    for step in range(1, 4):
        trainer.report(step)
        await eventually(lambda step=step: _all(states[-1].progress.step == step for states in seen))  # type: ignore[misc]
    trainer.commit()
    trainer.end()
    await asyncio.wait_for(asyncio.gather(*watching), 10)
    for states in seen:
        assert states[0].state == v1.TRAINING_JOB_STATE_LAUNCHING
        assert states[-1].state == v1.TRAINING_JOB_STATE_SUCCEEDED
        assert all(before != after for before, after in itertools.pairwise(states))
    # Who comes late gets the last state and the end.
    late = [answer async for answer in api.training.WatchTrainingJob(v1.WatchTrainingJobRequest(name=name))]
    assert [answer.training_job.state for answer in late] == [v1.TRAINING_JOB_STATE_SUCCEEDED]


async def _all(truths: object) -> bool:
    return all(truths)  # type: ignore[call-overload, no-any-return]


async def test_watching_what_does_not_exist_is_not_found(api: Api) -> None:
    call = api.training.WatchTrainingJob(v1.WatchTrainingJobRequest(name="trainingJobs/0123456789abcdef"))
    assert (await error_of(call.read())).code == grpc.StatusCode.NOT_FOUND


async def test_cancelling_stops_a_job_and_an_ended_one_is_left_as_it_is(api: Api) -> None:
    name = await api.job()
    await api.launched(name)
    answer = await api.training.CancelTrainingJob(v1.CancelTrainingJobRequest(name=name))
    assert answer.state in (v1.TRAINING_JOB_STATE_CANCELLING, v1.TRAINING_JOB_STATE_CANCELLED)
    cancelled = await api.until(name, v1.TRAINING_JOB_STATE_CANCELLED)
    again = await api.training.CancelTrainingJob(v1.CancelTrainingJobRequest(name=name))
    assert (again.state, again.end_time) == (cancelled.state, cancelled.end_time)
    succeeded = await api.ended_job()
    again = await api.training.CancelTrainingJob(v1.CancelTrainingJobRequest(name=succeeded))
    assert again.state == v1.TRAINING_JOB_STATE_SUCCEEDED


async def test_a_living_job_is_not_deleted(api: Api) -> None:
    name = await api.job()
    await api.launched(name)
    answer = await error_of(api.training.DeleteTrainingJob(v1.DeleteTrainingJobRequest(name=name)))
    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_ALIVE")
    assert (await api.get(name)).name == name


@pytest.mark.parametrize("with_adapters", [False, True])
async def test_a_deleted_job_leaves_its_tombstone_and_its_adapters_unless_asked(api: Api, with_adapters: bool) -> None:
    name = await api.ended_job()
    job = job_of_name(name) or ""
    adapter = f"adapters/{job}-final"
    delete = v1.DeleteTrainingJobRequest(name=name, delete_adapters=with_adapters)
    await api.training.DeleteTrainingJob(delete)
    assert (
        await error_of(api.training.GetTrainingJob(v1.GetTrainingJobRequest(name=name)))
    ).code == grpc.StatusCode.NOT_FOUND
    assert name not in [each.name for each in await listed(api, page_size=1000)]
    assert ("local", job, 1) in api.executor.forgotten
    keys = TenantKeys("local").job(job)
    left = {entry.key.removeprefix(keys.root) for entry in api.service.store.list(keys.root)}
    kept = {"runs/1/adapters/final/adapter.safetensors", "runs/1/adapters/final/manifest.json"}
    assert left == {"control/tombstone.json", *(() if with_adapters else kept)}
    get = api.adapters.GetAdapter(v1.GetAdapterRequest(name=adapter))
    if with_adapters:
        assert (await error_of(get)).code == grpc.StatusCode.NOT_FOUND
    else:
        assert (await get).training_job == name
    await api.training.DeleteTrainingJob(delete)  # again is accepted


async def test_a_deletion_waits_for_a_trainer_on_its_way_out(api: Api) -> None:
    name = await api.job()
    trainer = await api.launched(name)
    trainer.claim()
    trainer.commit()
    trainer.end(gone=False)
    await api.until(name, v1.TRAINING_JOB_STATE_SUCCEEDED)
    job = TenantKeys("local").job(trainer.job)
    deleting = asyncio.ensure_future(api.training.DeleteTrainingJob(v1.DeleteTrainingJobRequest(name=name)))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(deleting), 0.3)
    assert list(api.service.store.list(job.tombstone)) == []
    api.executor.exit("local", trainer.job, 1, v1.EXIT_CODE_SUCCESS)
    await asyncio.wait_for(deleting, 10)
    assert trainer.job in [launch[1] for launch in api.executor.forgotten]


async def test_metrics_hold_each_step_once_and_the_later_run_counts(api: Api) -> None:
    name = await api.job()
    trainer = await api.launched(name)
    trainer.claim()
    trainer.measure(0, s1=0.5, s2=0.4)
    trainer.measure(1, s3=0.3)
    trainer.end(v1.EXIT_CODE_PREEMPTED, "stopped")
    second = await api.launched(name, 2)
    second.measure(0, s3=0.31, s4=0.2)
    answer = await api.training.ListTrainingMetrics(v1.ListTrainingMetricsRequest(name=name))
    assert [(metric.step, metric.loss) for metric in answer.metrics] == [(1, 0.5), (2, 0.4), (3, 0.31), (4, 0.2)]
    after = v1.ListTrainingMetricsRequest(name=name, after_step=1, page_size=2)
    page = await api.training.ListTrainingMetrics(after)
    assert [metric.step for metric in page.metrics] == [2, 3]
    after.page_token = page.next_page_token
    page = await api.training.ListTrainingMetrics(after)
    assert ([metric.step for metric in page.metrics], page.next_page_token) == ([4], "")
    bad = v1.ListTrainingMetricsRequest(name=name, after_step=-1)
    assert set((await error_of(api.training.ListTrainingMetrics(bad))).violations) == {"after_step"}


async def test_logs_come_live_from_the_executor_and_end_with_the_launch(api: Api) -> None:
    name = await api.job()
    call = api.training.StreamTrainingLogs(v1.StreamTrainingLogsRequest(name=name, follow=True))
    trainer = await api.launched(name)
    launch = ("local", trainer.job, 1)
    api.executor.logs[launch] = b"one\ntw"
    assert (await call.read()).line == "one"
    api.executor.logs[launch] += b"o\nthree"
    assert (await call.read()).line == "two"
    trainer.claim()
    trainer.commit()
    trainer.end()
    assert (await call.read()).line == "three"
    assert await call.read() is grpc.aio.EOF
    request = v1.StreamTrainingLogsRequest(name=name, launch=1)
    assert [answer.line async for answer in api.training.StreamTrainingLogs(request)] == ["one", "two", "three"]


async def test_logs_come_from_the_record_where_the_executor_has_none(api: Api) -> None:
    name = await api.job()
    trainer = await api.launched(name)
    for place, content in enumerate((b"one\ntw", b"o\nthree\n")):
        api.service.store.put_new(f"{trainer.keys.logs_prefix}{place:06d}.jsonl", content)
    call = api.training.StreamTrainingLogs(v1.StreamTrainingLogsRequest(name=name))
    assert [answer.line async for answer in call] == ["one", "two", "three"]


async def test_a_launch_that_does_not_exist_has_no_log(api: Api) -> None:
    name = await api.job()
    await api.launched(name)
    call = api.training.StreamTrainingLogs(v1.StreamTrainingLogsRequest(name=name, launch=7))
    answer = await error_of(call.read())
    assert answer.code == grpc.StatusCode.NOT_FOUND
    assert "launch 7" in answer.message
    call = api.training.StreamTrainingLogs(v1.StreamTrainingLogsRequest(name=name, launch=-1))
    assert set((await error_of(call.read())).violations) == {"launch"}
