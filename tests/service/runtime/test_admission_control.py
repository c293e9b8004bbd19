"""Operators hold waiting jobs back: one record after the other, of which the newest counts for every replica."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from loramill import v1
from service.admission_control import AdmissionControl
from service.audit import Audit
from service.auth.rights import NEEDED, Role
from service.caller import Caller
from service.compute_classes import LOCAL_MODE, ComputeClass, ComputeClasses
from service.decision import Wait
from service.errors import InvalidRequest
from service.facts import read_facts
from service.job import training_job
from service.keys import SHARED, admission, audit_prefix
from service.reconciler import Reconciler
from store.records import put_record
from tests.service.runtime.world import (
    JOB,
    QUICK,
    START,
    TENANT,
    MemoryStore,
    PretendedExecutor,
    running,
    submit,
    until,
)

OPERATOR = Caller(tenant="platform", principal="operator", method="SetAdmission", call_id="c")
CLASSES = ComputeClasses(
    classes=tuple(ComputeClass(name=name, gpus=1, cpu="1", memory="1Gi") for name in ("l4", "l4-spot"))
)


def control_of(store: MemoryStore, classes: ComputeClasses = CLASSES) -> AdmissionControl:
    return AdmissionControl(store, classes, Audit(store))


def test_what_one_replica_is_told_every_replica_knows() -> None:
    store = MemoryStore()
    mine, theirs = control_of(store), control_of(store)
    assert mine.refresh() == theirs.refresh() == v1.Admission()
    mine.set(OPERATOR, v1.Admission(paused=True, reason="The store moves."))
    assert theirs.held_back("l4") == ""
    theirs.refresh()
    assert theirs.held_back("l4") == "The operator lets no job begin for now: The store moves."
    theirs.set(OPERATOR, v1.Admission(closed_compute_classes=["l4-spot", "l4-spot"]))
    assert mine.refresh().closed_compute_classes == ["l4-spot"]
    assert mine.held_back("l4-spot") == "The operator lets no job begin on l4-spot for now."
    assert mine.held_back("l4") == ""
    assert len([*store.list(audit_prefix(SHARED))]) == 2


def test_of_two_operators_in_the_same_moment_both_are_recorded_and_the_later_counts() -> None:
    store = MemoryStore()
    control = control_of(store)
    read = control.refresh

    def read_too_early() -> v1.Admission:
        seen = read()
        put_record(store, admission(1), v1.AdmissionRecord(admission=v1.Admission(paused=True, reason="theirs")))
        return seen

    control.refresh = read_too_early  # type: ignore[method-assign]
    assert control.set(OPERATOR, v1.Admission(reason="mine")).reason == "mine"
    assert [entry.key for entry in store.list("_shared/admission/")] == [admission(1), admission(2)]


def test_everything_that_is_wrong_is_told_at_once_and_nothing_is_recorded() -> None:
    store = MemoryStore()
    with pytest.raises(InvalidRequest) as raised:
        control_of(store).set(OPERATOR, v1.Admission(closed_compute_classes=["l4", "a100"], reason="x" * 501))
    fields = [violation.field for violation in raised.value.violations]
    assert fields == ["admission.closed_compute_classes[1]", "admission.reason"]
    assert store.objects == {}


def test_only_operators_may() -> None:
    assert NEEDED["/loramill.v1.TrainingService/SetAdmission"] is Role.OPERATOR
    assert NEEDED["/loramill.v1.TrainingService/GetAdmission"] is Role.VIEWER


async def test_a_job_that_is_held_back_begins_when_it_may() -> None:
    store = MemoryStore()
    control = control_of(store, LOCAL_MODE)
    control.set(OPERATOR, v1.Admission(paused=True, reason="tonight"))
    executor = PretendedExecutor(store)
    reconciler = Reconciler(store, executor, QUICK, control=control)
    submit(store)
    async with running(reconciler):
        await until(lambda: reconciler.queue_position(TENANT, JOB) == 1)
        await asyncio.sleep(0.1)  # some looks
        assert executor.starts == []
        facts = read_facts(store, TENANT, JOB)
        assert facts is not None
        told = training_job(facts, START, 1, control.held_back("local"))
        assert (told.state, told.state_message) == (
            v1.TRAINING_JOB_STATE_QUEUED,
            "The operator lets no job begin for now: tonight.",
        )
        control.set(OPERATOR, v1.Admission())
        await until(lambda: executor.starts == [(JOB, 1)])


async def test_nothing_begins_after_an_operator_was_told_so_by_another_replica() -> None:
    """This one has not looked since, and both jobs' turns are under way when it hears of it."""
    store = MemoryStore()
    executor = PretendedExecutor(store)
    reconciler = Reconciler(store, executor, replace(QUICK, jobs=2), control=control_of(store, LOCAL_MODE))
    jobs = [f"{number:015d}j" for number in range(2)]
    for job in jobs:
        submit(store, job)
    theirs = control_of(store, LOCAL_MODE)
    theirs.set(OPERATOR, v1.Admission(paused=True))
    actions = await asyncio.gather(*(reconciler.reconcile(TENANT, job) for job in jobs))
    assert (actions, executor.starts) == ([Wait(), Wait()], [])
    theirs.set(OPERATOR, v1.Admission())
    actions = await asyncio.gather(*(reconciler.reconcile(TENANT, job) for job in jobs))
    assert actions == [Wait(), Wait()], "what lets them begin is heard of at the next look"


async def test_what_this_service_was_told_counts_before_its_next_look_at_the_store() -> None:
    store = MemoryStore()
    control = control_of(store, LOCAL_MODE)
    executor = PretendedExecutor(store)
    seldom = replace(QUICK, look_again=timedelta(hours=1))
    reconciler = Reconciler(store, executor, seldom, control=control)
    control.set(OPERATOR, v1.Admission(paused=True))
    submit(store)
    async with running(reconciler):
        await until(lambda: reconciler.queue_position(TENANT, JOB) == 1)
        control.set(OPERATOR, v1.Admission())
        await until(lambda: executor.starts == [(JOB, 1)])
