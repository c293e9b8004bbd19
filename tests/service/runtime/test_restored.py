"""A store that an older copy of itself replaces: nothing is launched before an operator says so, and then what had not ended."""

from __future__ import annotations

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from loramill import v1
from service.admission_control import AdmissionControl
from service.audit import Audit
from service.caller import Caller
from service.compute_classes import LOCAL_MODE
from service.errors import InvalidRequest
from service.job import standing_of
from service.jobs import Jobs
from service.reconciler import Reconciler, ReconcilerSettings
from service.retry import RetryPolicy
from service.times import utc_now
from store.files import FileStore
from tests.service.runtime.world import (
    KEYS,
    PretendedExecutor,
    facts_of,
    listed,
    outcome_of,
    running,
    submit,
    until,
)

OPERATOR = Caller(tenant="local", principal="operator", method="SetAdmission", call_id="c")
SETTINGS = ReconcilerSettings(
    jobs=8,
    interval=timedelta(milliseconds=20),
    retry=RetryPolicy(first_delay=timedelta(0)),
    longest_wait=timedelta(seconds=0.2),
)
ENDED, WORKED, WAITED, KILLED, SAVED = (f"{number:015d}j" for number in range(5))
"""Jobs, by how they stood when the copy was taken, or what became of them after it."""
WORKS = ["claim", "status", "work"]


class Service:
    """What a service at its start makes of a folder, and of what its executor knows."""

    def __init__(self, folder: Path, executor: PretendedExecutor | None = None) -> None:
        self.store = FileStore(folder)
        self.executor = PretendedExecutor(self.store, {1: WORKS})
        if executor is not None:  # the same cluster as before
            self.executor.executions, self.executor.begun = executor.executions, executor.begun
        self.control = AdmissionControl(self.store, LOCAL_MODE, Audit(self.store))
        self.reconciler = Reconciler(self.store, self.executor, SETTINGS, control=self.control)

    def ends(self, job: str, launch: int = 1) -> None:
        self.executor.acts(job, launch).play(["claim", "adapter", "end"])
        self.executor.exit(job, launch, 0)

    def jobs(self) -> Jobs:
        """As callers see them."""
        held_back = self.control.held_back_job
        return Jobs(self.store, self.executor, lambda *_: None, Audit(self.store), held_back=held_back)

    def states(self) -> dict[str, str]:
        return dict(entry.split(".") for entry in listed(self.store, KEYS.ended_prefix))


async def before_and_after(folder: Path) -> PretendedExecutor:
    """`copy` is taken in the middle of the jobs in `live`; they end afterwards. What the cluster then knows."""
    live = Service(folder / "live")
    for job in (ENDED, WORKED, KILLED, SAVED):
        submit(live.store, job)
    async with running(live.reconciler):
        await until(lambda: len(live.executor.starts) == 4)
        live.ends(ENDED)
        await until(lambda: live.states() == {ENDED: "SUCCEEDED"})
    submit(live.store, WAITED)
    live.executor.acts(SAVED, 1).adapter()
    shutil.copytree(folder / "live", folder / "copy")
    live.executor.acts(SAVED, 1).end()
    live.executor.exit(SAVED, 1, 0)
    again = Service(folder / "live", live.executor)
    async with running(again.reconciler):
        await until(lambda: again.executor.starts == [(WAITED, 1)])
        for job in (WORKED, WAITED):
            again.ends(job)
        await until(lambda: again.states() == dict.fromkeys((ENDED, WORKED, WAITED, SAVED), "SUCCEEDED"))
    again.executor.exit(KILLED, 1, 137)  # with the node that the old service ran on
    return again.executor


async def test_a_restored_copy_launches_nothing_and_then_only_what_had_not_finished(tmp_path: Path) -> None:
    cluster = await before_and_after(tmp_path)
    restored = Service(tmp_path / "copy", cluster)
    async with running(restored.reconciler):
        await until(lambda: restored.control.admission.restored)
        await until(lambda: len(restored.states()) == 4)
        await asyncio.sleep(0.2)  # some looks
        assert restored.executor.starts == []
        assert restored.states() == {ENDED: "SUCCEEDED", SAVED: "SUCCEEDED", WORKED: "FAILED", WAITED: "FAILED"}
        lost = outcome_of(restored.store, WORKED)
        assert (lost.reason, outcome_of(restored.store, WAITED).reason) == (v1.STATE_REASON_RECORD_LOST,) * 2
        assert "new request_id" in lost.message
        assert "the record knows nothing" in restored.control.admission.reason
        facts = facts_of(restored.store, KILLED)
        why = restored.control.held_back_job(facts)
        assert why.startswith("Nothing is launched until the operator has seen to it: the store seems to be restored")
        with pytest.raises(InvalidRequest):  # half of it cannot be set
            restored.control.set(OPERATOR, v1.Admission(restored=True))
        restored.control.set(OPERATOR, v1.Admission())
        await until(lambda: restored.executor.starts == [(KILLED, 2)])
    # A service that starts now finds the same Jobs without records, and knows that somebody has seen to them.
    later = Service(tmp_path / "copy", restored.executor)
    async with running(later.reconciler):
        await asyncio.sleep(0.1)
        assert not later.control.refresh().restored
        assert later.executor.starts == []


async def test_what_waits_for_the_operator_tells_so(tmp_path: Path) -> None:
    cluster = await before_and_after(tmp_path)
    restored = Service(tmp_path / "copy", cluster)
    async with running(restored.reconciler):
        await until(lambda: restored.control.admission.restored)
        jobs = restored.jobs()
        job = jobs.get("local", KILLED)
    assert (job.state, job.state_reason) == (v1.TRAINING_JOB_STATE_LAUNCHING, v1.STATE_REASON_HELD_BACK)
    assert "Nothing is launched until the operator has seen to it" in job.state_message


async def test_on_another_cluster_the_operator_says_that_the_store_was_restored_and_is_heard_once(
    tmp_path: Path,
) -> None:
    await before_and_after(tmp_path)
    restored = Service(tmp_path / "copy")
    restored.control.pause_once_for("2026-11-28")
    async with running(restored.reconciler):
        await until(lambda: restored.states() == {ENDED: "SUCCEEDED", SAVED: "SUCCEEDED"})
        await asyncio.sleep(0.1)
        assert restored.executor.starts == []
        assert standing_of(facts_of(restored.store, ENDED), utc_now()).state == v1.TRAINING_JOB_STATE_SUCCEEDED
        restored.control.set(OPERATOR, v1.Admission())
        await until(lambda: {job for job, _ in restored.executor.starts} == {WORKED, WAITED, KILLED})
    again = Service(tmp_path / "copy", restored.executor)
    again.control.pause_once_for("2026-11-28")
    assert not again.control.refresh().paused
    again.control.pause_once_for("2026-12-01")
    assert again.control.refresh().restored


@pytest.mark.parametrize("moved", [False, True])
async def test_a_launch_that_was_recorded_and_never_begun_is_begun_where_the_store_is_now(
    tmp_path: Path, moved: bool
) -> None:
    live = Service(tmp_path / "live")
    live.executor.scripts = {1: []}  # no trainer comes to claim it
    submit(live.store, WAITED)
    async with running(live.reconciler):
        await until(lambda: live.executor.starts == [(WAITED, 1)])
    restored = Service(shutil.copytree(tmp_path / "live", tmp_path / "copy") if moved else tmp_path / "live")
    restored.executor.scripts = {1: []}
    restored.control.pause_once_for("2026-11-28")
    async with running(restored.reconciler):
        jobs = restored.jobs()
        await until(lambda: (facts_of(restored.store, WAITED).launches[0].seen_end is not None) == moved)
        assert jobs.get("local", WAITED).state_reason == v1.STATE_REASON_HELD_BACK
        assert restored.executor.starts == []
        restored.control.set(OPERATOR, v1.Admission())
        await until(lambda: restored.executor.starts == [(WAITED, 2 if moved else 1)])
        assert facts_of(restored.store, WAITED).launches[-1].assignment.run_uri.startswith(restored.store.uri)


async def test_a_service_that_merely_starts_again_goes_on_also_with_jobs_of_deleted_ones_in_the_cluster(
    tmp_path: Path,
) -> None:
    cluster = await before_and_after(tmp_path)
    live = Service(tmp_path / "live", cluster)
    jobs = Jobs(live.store, live.executor, lambda *_: None, Audit(live.store))
    jobs.delete(OPERATOR, WORKED, True)
    live.executor.executions[WORKED, 1] = cluster.executions.get((WORKED, 1), cluster.executions[ENDED, 1])
    async with running(live.reconciler):
        await until(lambda: live.executor.starts == [(KILLED, 2)])
        assert live.control.refresh() == v1.Admission()
