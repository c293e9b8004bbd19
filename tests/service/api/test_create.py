from __future__ import annotations

import asyncio

import grpc
import pytest

from loramill import v1
from service.keys import TenantKeys, job_of_name
from store.records import read_record
from tests.service.api.api import Api, error_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


def create(spec: v1.TrainingSpec, request_id: str = "", *, validate_only: bool = False) -> v1.CreateTrainingJobRequest:
    return v1.CreateTrainingJobRequest(spec=spec, request_id=request_id, validate_only=validate_only)


async def all_jobs(api: Api) -> list[str]:
    page = await api.training.ListTrainingJobs(v1.ListTrainingJobsRequest(page_size=1000))
    assert not page.next_page_token
    return [job.name for job in page.training_jobs]


async def test_a_job_is_answered_with_its_resolved_spec(api: Api) -> None:
    spec = await api.spec()
    spec.unet.learning_rate = 0.5
    job = await api.training.CreateTrainingJob(create(spec))
    assert job_of_name(job.name)
    assert job.state in (v1.TRAINING_JOB_STATE_QUEUED, v1.TRAINING_JOB_STATE_LAUNCHING)
    assert (job.spec.adapter.rank, job.spec.unet.learning_rate) == (16, 0.5)
    assert job.spec.optimization.HasField("seed")
    assert "learning_rate" in job.warnings[0]
    assert (await api.get(job.name)).spec == job.spec
    trainer = await api.launched(job.name)
    key = TenantKeys("local").job(trainer.job).launch(1)
    assignment = read_record(api.service.store, key, v1.Assignment)
    assert assignment is not None
    assert (assignment.spec, assignment.base_model.name) == (job.spec, "baseModels/shapes")
    assert (assignment.compute_class, job.HasField("compute"), job.spec.compute_class) == ("", False, "local")


async def test_every_violation_at_once(api: Api) -> None:
    before = await all_jobs(api)
    spec = v1.TrainingSpec(base_model="baseModels/none")
    spec.dataset.dataset = "datasets/0123456789abcdef"
    spec.adapter.rank = 0
    spec.adapter.type = v1.ADAPTER_TYPE_LOHA
    spec.adapter.lora_plus_ratio = 16
    spec.adapter.rules.add(rank=4)
    spec.dataset.subsets.add(repeats=0)
    answer = await error_of(api.training.CreateTrainingJob(create(spec, "x" * 201)))
    assert (answer.code, answer.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert answer.reasons == {
        "request_id": "OUT_OF_RANGE",
        "spec.base_model": "RESOURCE_NOT_FOUND",
        "spec.dataset.dataset": "RESOURCE_NOT_FOUND",
        "spec.dataset.subsets[0].repeats": "OUT_OF_RANGE",
        "spec.adapter.rank": "OUT_OF_RANGE",
        "spec.adapter.lora_plus_ratio": "CONFLICT",
        "spec.adapter.rules[0].pattern": "REQUIRED",
    }
    assert "spec.adapter.rank is 0, but must be 1 to 1024" in answer.violations["spec.adapter.rank"]
    assert await all_jobs(api) == before


async def test_more_violations_than_an_answer_holds_are_counted(api: Api) -> None:
    spec = await api.spec()
    for place in range(300):
        spec.dataset.subsets.add(path_prefix=str(place), repeats=0)
    answer = await error_of(api.training.CreateTrainingJob(create(spec)))
    assert answer.code == grpc.StatusCode.INVALID_ARGUMENT
    shown = len(answer.violations) - 1
    assert shown > 10
    assert answer.violations[""].startswith(f"{599 - shown} more violations")  # 299 subsets are empty too


async def test_validate_only_makes_nothing(api: Api) -> None:
    before = await all_jobs(api)
    spec = await api.spec()
    job = await api.training.CreateTrainingJob(create(spec, "only", validate_only=True))
    assert (job.name, job.state) == ("", v1.TRAINING_JOB_STATE_UNSPECIFIED)
    assert job.spec.adapter.rank == 16
    assert await all_jobs(api) == before
    spec.adapter.rank = 0
    assert (await error_of(api.training.CreateTrainingJob(create(spec, validate_only=True)))).violations


async def test_a_request_id_makes_one_job_however_often_it_is_sent(api: Api) -> None:
    spec = await api.spec()
    before = await all_jobs(api)
    answers = await asyncio.gather(*(api.training.CreateTrainingJob(create(spec, "same")) for _ in range(8)))
    assert len({answer.name for answer in answers}) == 1
    assert len({answer.spec.optimization.seed for answer in answers}) == 1
    assert set(await all_jobs(api)) - set(before) == {answers[0].name}


async def test_a_request_id_stands_for_one_spec(api: Api) -> None:
    spec = await api.spec()
    first = await api.training.CreateTrainingJob(create(spec, "taken"))
    spec.adapter.rank = 8
    answer = await error_of(api.training.CreateTrainingJob(create(spec, "taken")))
    assert answer.code == grpc.StatusCode.ALREADY_EXISTS
    assert first.name in answer.message
    spec.adapter.rank = 0  # the conflict comes first: what would be wrong with another job is of no use
    assert (
        await error_of(api.training.CreateTrainingJob(create(spec, "taken")))
    ).code == grpc.StatusCode.ALREADY_EXISTS


async def test_without_a_request_id_each_call_makes_a_job(api: Api) -> None:
    spec = await api.spec()
    names = {(await api.training.CreateTrainingJob(create(spec))).name for _ in range(2)}
    assert len(names) == 2


async def test_a_replay_after_deletion_meets_the_tombstone(api: Api) -> None:
    spec = await api.spec()
    job = await api.training.CreateTrainingJob(create(spec, "deleted"))
    trainer = await api.launched(job.name)
    trainer.claim()
    trainer.end(v1.EXIT_CODE_USER_ERROR, "bad picture")
    await api.until(job.name, v1.TRAINING_JOB_STATE_FAILED)
    await api.training.DeleteTrainingJob(v1.DeleteTrainingJobRequest(name=job.name))
    answer = await error_of(api.training.CreateTrainingJob(create(spec, "deleted")))
    assert (answer.code, answer.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "JOB_DELETED")
    assert job.name not in await all_jobs(api)
    assert list(api.service.store.list(TenantKeys("local").active(trainer.job))) == []


async def test_a_half_made_job_is_completed_by_a_repetition(api: Api) -> None:
    """The service died behind the one PUT that makes a job."""
    spec = await api.spec()
    keys = TenantKeys("local")
    job = await api.training.CreateTrainingJob(create(spec, "half"))
    trainer = await api.launched(job.name)
    for key in (keys.active(trainer.job), keys.job(trainer.job).record):
        api.service.store.delete(key)
    assert (await api.training.CreateTrainingJob(create(spec, "half"))).name == job.name
    assert [entry.key for entry in api.service.store.list(keys.active(trainer.job))] == [keys.active(trainer.job)]


async def test_every_change_is_in_the_audit_record_and_no_look_is(api: Api) -> None:
    def records() -> list[v1.AuditRecord]:
        found = [
            read_record(api.service.store, entry.key, v1.AuditRecord)
            for entry in api.service.store.list("local/audit/")
        ]
        return [record for record in found if record is not None]

    spec = await api.spec()
    before = len(records())
    job = await api.training.CreateTrainingJob(create(spec, "audited"))
    await api.training.CreateTrainingJob(create(spec, "audited"))
    await api.get(job.name)
    await api.launched(job.name)
    await api.training.CancelTrainingJob(v1.CancelTrainingJobRequest(name=job.name))
    new = records()[: len(records()) - before]
    assert [(record.method.rpartition("/")[2], record.resource) for record in reversed(new)] == [
        ("CreateTrainingJob", job.name),
        ("CancelTrainingJob", job.name),
    ]
    assert {record.principal for record in new} == {"loopback"}
