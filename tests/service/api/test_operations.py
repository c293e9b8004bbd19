"""Operators' calls over the wire: what is stuck, giving a launch up, and a class that is drained."""

from __future__ import annotations

import grpc
import pytest

from loramill import v1
from store.records import put_status_record
from tests.service.api.api import Api, error_of, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_launch_that_says_nothing_is_listed_and_given_up_and_the_next_one_trains(api: Api) -> None:
    name = await api.job()
    trainer = await api.launched(name)
    trainer.claim()
    old = v1.Progress(phase=v1.PHASE_TRAINING, step=3, steps=9)
    old.update_time.FromJsonString("2026-01-01T00:00:00Z")
    put_status_record(api.service.store, trainer.keys.status, v1.RunStatus(progress=old))
    answer = await api.training.ListStuckJobs(v1.ListStuckJobsRequest())
    (stuck,) = [job for job in answer.stuck_jobs if job.name == name]
    assert (stuck.tenant, stuck.launch, stuck.since) == ("local", 1, old.update_time)
    assert "give launch 1 up" in stuck.remedy
    request = v1.GiveUpLaunchRequest(tenant="local", name=name, launch=1, reason="it hangs")
    assert "it hangs" in (await api.training.GiveUpLaunch(request)).state_message
    heir = await api.launched(name, 2)
    heir.claim()
    heir.commit()
    heir.end()
    job = await api.until(name, v1.TRAINING_JOB_STATE_SUCCEEDED)
    assert [launch.number for launch in job.launches] == [1, 2]
    assert "gave the launch up: it hangs." in job.launches[0].message
    answer_now = await error_of(api.training.GiveUpLaunch(request))
    assert (answer_now.code, answer_now.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ENDED")


async def test_a_class_that_is_drained_gives_its_trainers_back_until_it_is_open(api: Api) -> None:
    name = await api.job()
    trainer = await api.launched(name)
    trainer.claim()
    drained = v1.Admission(drained_compute_classes=["local"], reason="repairs")
    await api.training.SetAdmission(v1.SetAdmissionRequest(admission=drained))

    async def is_held_back() -> bool:
        return (await api.get(name)).state_reason == v1.STATE_REASON_HELD_BACK

    await eventually(is_held_back)
    assert (await api.get(name)).state_message.endswith("The operator lets no job go on on local for now: repairs.")
    await api.training.SetAdmission(v1.SetAdmissionRequest(admission=v1.Admission()))
    heir = await api.launched(name, 2)
    heir.claim()
    heir.commit()
    heir.end()
    await api.until(name, v1.TRAINING_JOB_STATE_SUCCEEDED)


async def test_everything_that_is_wrong_is_told_at_once(api: Api) -> None:
    answer = await error_of(api.training.GiveUpLaunch(v1.GiveUpLaunchRequest(name="x", reason="x" * 501)))
    assert [*answer.reasons] == ["tenant", "name", "launch", "reason"]
    unknown = v1.Admission(drained_compute_classes=["a100"], restored=True)
    answer = await error_of(api.training.SetAdmission(v1.SetAdmissionRequest(admission=unknown)))
    assert answer.reasons == {
        "admission.drained_compute_classes[0]": "UNKNOWN_VALUE",
        "admission.restored": "NOT_SUPPORTED",
        "admission.paused": "CONFLICT",
    }
