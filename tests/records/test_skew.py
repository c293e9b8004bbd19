"""A service among records of other versions, as in an upgrade that is under way, or one that was taken back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from loramill import v1
from service.admission_control import AdmissionControl
from service.audit import Audit
from service.caller import Caller
from service.compute_classes import LOCAL_MODE
from service.executors import Execution, ExecutionState
from service.jobs import Jobs
from service.keys import ADMISSION_PREFIX
from service.reconciler import Reconciler
from store.newer import unknown_choices, unknown_fields
from store.object_store import RecordError
from store.records import read_record
from tests.service.runtime.world import (
    JOB,
    KEYS,
    QUICK,
    SUCCESS,
    TENANT,
    MemoryStore,
    PretendedExecutor,
    create_record,
    facts_of,
    has_left,
    outcome_of,
    running,
    submit,
    until,
)

CALLER = Caller(tenant=TENANT, principal="caller", method="DeleteTrainingJob", call_id="c")
RUN = KEYS.job(JOB).run(1)
OTHER = f"{7:015d}j"
SETTINGS = replace(QUICK, jobs=4)


class Newer(MemoryStore):
    """Whatever is written into it looks as if a later version had written it: more fields, at every level."""

    def put_new(self, key: str, content: bytes | Any) -> None:
        super().put_new(key, self._grown(key, content))

    def put_status(self, key: str, content: bytes) -> None:
        super().put_status(key, self._grown(key, content))

    def _grown(self, key: str, content: bytes) -> bytes:
        return json.dumps(grown(json.loads(content))).encode() if key.endswith(".json") else content


def grown(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: grown(part) for name, part in value.items()} | {"later": {"and": ["deeper", {"x": 1}]}}
    return [grown(part) for part in value] if isinstance(value, list) else value


def change(store: MemoryStore, key: str, **fields: Any) -> None:
    store.objects[key] = json.dumps(json.loads(store.objects[key]) | fields).encode()


async def test_records_with_more_fields_and_records_of_other_kinds_lead_to_the_same_outcome() -> None:
    store = Newer()
    executor = PretendedExecutor(store, {1: ["claim", "status", "exit 137"], 2: SUCCESS[1]})
    submit(store)
    for key in (
        f"{KEYS.job(JOB).control}plans/000001.json",
        f"{KEYS.job(JOB).control}launches.json",
        f"{RUN.root}telemetry/000001.bin",
        f"{RUN.root}claims/000002.json",
        "_shared/later/x.json",
        f"{TENANT}/later/x.json",
    ):
        store.put_new(key, b'{"schemaVersion": 3}')
    async with running(Reconciler(store, executor, SETTINGS)):
        await until(has_left(store))
    assert outcome_of(store).state == v1.TRAINING_JOB_STATE_SUCCEEDED
    assert executor.starts == [(JOB, 1), (JOB, 2)]
    Jobs(store, executor, lambda *_: None, Audit(store)).delete(CALLER, JOB, True)
    assert [key for key in store.objects if key.startswith(KEYS.job(JOB).root)] == [KEYS.job(JOB).tombstone]


@pytest.mark.parametrize(
    ("end", "reason", "says"),
    [
        ({"exitCode": 99}, v1.STATE_REASON_INTERNAL, "Said by a later one."),
        # A word that is not known counts as the enum's zero, which proves nothing.
        ({"exitCode": "EXIT_CODE_LATER"}, v1.STATE_REASON_INTERNAL, "The trainer reported success"),
    ],
)
async def test_an_end_that_is_not_known_yet_is_a_failure_that_is_tried_again(
    end: dict[str, Any], reason: int, says: str
) -> None:
    store = MemoryStore()
    executor = PretendedExecutor(store, {1: ["claim", "work"]})
    submit(store)
    async with running(Reconciler(store, executor, SETTINGS)):
        for number in (1, 2, 3):
            await until(lambda number=number: (JOB, number) in executor.executions)
            executor.acts(JOB, number).end(1, "Said by a later one.")
            change(store, KEYS.job(JOB).run(number).end, **end)
            executor.exit(JOB, number, 99)
        await until(has_left(store))
    outcome = outcome_of(store)
    assert (outcome.state, outcome.reason) == (v1.TRAINING_JOB_STATE_FAILED, reason)
    assert outcome.message.startswith(says)
    assert len(executor.starts) == 3


async def test_words_that_are_not_known_yet_do_not_stop_anybody() -> None:
    store = MemoryStore()
    executor = PretendedExecutor(store, {1: ["claim", "status", "work"]})
    submit(store)
    jobs = Jobs(store, executor, lambda *_: None, Audit(store))
    async with running(Reconciler(store, executor, SETTINGS)):
        await until(lambda: RUN.status in store.objects)
        change(store, RUN.status, progress={"phase": "PHASE_LATER", "step": 3, "steps": 9})
        assert jobs.get(TENANT, JOB).state == v1.TRAINING_JOB_STATE_RUNNING
        executor.acts(JOB, 1).play(["adapter", "end"])
        executor.exit(JOB, 1, 0)
        await until(has_left(store))
    change(store, KEYS.job(JOB).outcome, reason="STATE_REASON_LATER")
    shown = jobs.get(TENANT, JOB)
    assert (shown.state, shown.state_reason) == (v1.TRAINING_JOB_STATE_SUCCEEDED, v1.STATE_REASON_UNSPECIFIED)


@pytest.mark.parametrize("of", [RUN.end, KEYS.job(JOB).launch(1), KEYS.job(JOB).record, RUN.claim])
async def test_a_record_that_an_older_service_would_misread_ends_no_job_and_holds_up_no_other(of: str) -> None:
    store = MemoryStore()
    executor = PretendedExecutor(store, {JOB: {1: ["claim", "work"]}, OTHER: SUCCESS})
    submit(store)
    async with running(Reconciler(store, executor, SETTINGS)):
        await until(lambda: RUN.claim in store.objects)
        if of == RUN.end:
            executor.acts(JOB, 1).end(64, "later")
        change(store, of, schemaVersion=2)
        executor.exit(JOB, 1, 64)
        submit(store, OTHER)
        await until(has_left(store, OTHER))
        await asyncio.sleep(0.1)
        assert KEYS.job(JOB).outcome not in store.objects
        assert executor.starts == [(JOB, 1), (OTHER, 1)]
        change(store, of, schemaVersion=1)  # by the upgrade
        await until(has_left(store, JOB, OTHER))


async def test_a_service_that_was_rolled_back_passes_on_what_it_does_not_know_of_a_spec() -> None:
    store = MemoryStore()
    executor = PretendedExecutor(store, {1: ["claim", "work"]})
    submit(store)
    spec = {"baseModel": "baseModels/shapes", "dataset": {"dataset": f"datasets/{JOB}", "later": [1.5]}}
    spec |= {"optimization": {"optimizer": "OPTIMIZER_LATER", "seed": "9223372036854775807"}, "alsoLater": True}
    change(store, KEYS.job(JOB).record, spec=spec, baseModel={"name": "baseModels/shapes", "later": 1})
    async with running(Reconciler(store, executor, SETTINGS)):
        await until(lambda: (JOB, 1) in executor.executions)
    written = json.loads(store.objects[KEYS.job(JOB).launch(1)])
    assert written["spec"] == spec
    assert written["baseModel"]["later"] == 1
    assert written["launch"] == 1


async def test_a_kind_of_job_that_is_not_known_is_neither_launched_as_another_nor_ended() -> None:
    store = MemoryStore()
    executor = PretendedExecutor(store)
    submit(store)
    change(store, KEYS.job(JOB).record, kind="JOB_KIND_LATER")
    submit(store, OTHER)
    async with running(Reconciler(store, executor, SETTINGS)):
        await until(has_left(store, OTHER))
        await asyncio.sleep(0.1)
    assert executor.starts == [(OTHER, 1)]
    assert facts_of(store).outcome is None


def test_records_of_the_version_before_lack_what_came_later() -> None:
    store = MemoryStore()
    record = create_record()
    submit(store)
    assert not record.HasField("compute")
    executor = PretendedExecutor(store)
    executor.executions[JOB, 1] = Execution(ExecutionState.RUNNING)
    store.put_new(
        KEYS.job(JOB).launch(1), b'{"schemaVersion":1,"launch":1,"createTime":"2026-01-01T00:00:00Z","spec":{}}'
    )
    store.put_new(RUN.claim, b'{"schemaVersion":1,"createTime":"2026-01-01T00:01:00Z"}')
    store.put_new(RUN.status, b'{"schemaVersion":1,"progress":{"phase":"PHASE_TRAINING","step":2,"steps":9}}')
    shown = Jobs(store, executor, lambda *_: None, Audit(store)).get(TENANT, JOB)
    assert (shown.state, shown.state_message) == (v1.TRAINING_JOB_STATE_RUNNING, "Step 2 of 9 is done.")
    store.put_new(RUN.end, b'{"schemaVersion":1,"exitCode":"EXIT_CODE_DIVERGED","createTime":"2026-01-01T00:02:00Z"}')
    assert facts_of(store).launches[0].end == v1.End(
        schema_version=1, exit_code=v1.EXIT_CODE_DIVERGED, create_time=facts_of(store).launches[0].end.create_time
    )
    store.put_new(f"{ADMISSION_PREFIX}00000001.json", b'{"schemaVersion":1,"admission":{"paused":true,"reason":"old"}}')
    control = AdmissionControl(store, LOCAL_MODE, Audit(store))
    assert (control.refresh().paused, control.acknowledged) == (True, None)


def test_a_record_that_is_none_is_refused_by_its_name() -> None:
    store = MemoryStore()
    store.put_new("local/x.json", b"[]")
    with pytest.raises(RecordError, match=r"memory:///local/x\.json"):
        read_record(store, "local/x.json", v1.End)


def test_what_is_passed_over_is_named() -> None:
    content = {
        "spec": {
            "optimization": {"optimizer": "OPTIMIZER_LATER", "steps": 3, "newRate": 1},
            "dataset": {"subsets": [{"repeats": 1, "weights2": 1}, {"weights2": 2}]},
            "deadline": "3s",
            "adapter": {"type": 99},
            "brandNew": {},
        },
        "kind": "JOB_KIND_TRAINING",
    }
    descriptor = v1.Assignment.DESCRIPTOR
    assert list(dict.fromkeys(unknown_fields(content, descriptor))) == [
        "spec.optimization.new_rate",
        "spec.dataset.subsets.weights2",
        "spec.brand_new",
    ]
    assert list(unknown_choices(content, descriptor)) == [
        "spec.optimization.optimizer (OPTIMIZER_LATER)",
        "spec.adapter.type (99)",
    ]
