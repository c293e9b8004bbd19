"""Several services on the same data do no harm: one outcome a job, each launch started once, nothing doubled."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import pytest

from loramill import v1
from service.executors import Execution
from service.facts import read_facts
from service.reconciler import Reconciler, ReconcilerSettings
from store.files import FileStore
from store.records import put_record
from tests.service.runtime.world import (
    JOB,
    KEYS,
    QUICK,
    SUCCESS,
    TENANT,
    MemoryStore,
    PretendedExecutor,
    Script,
    cancel,
    has_left,
    listed,
    outcome_of,
    running,
    submit,
    until,
)

SCRIPTS: list[Script] = [
    SUCCESS,
    {1: ["claim", "exit 137"], 2: SUCCESS[1]},
    {1: ["claim", "end 68"], 2: ["claim", "exit 1"], 3: SUCCESS[1]},
    {1: ["claim", "end 64"]},
]


@pytest.mark.parametrize(("limit", "number_of_jobs"), [(1, 4), (3, 6)])
async def test_many_jobs_under_three_services(tmp_path: Path, limit: int, number_of_jobs: int) -> None:
    store = FileStore(tmp_path)
    jobs = {f"{number:016d}": SCRIPTS[number % len(SCRIPTS)] for number in range(number_of_jobs)}
    executor = PretendedExecutor(store, jobs)
    settings = ReconcilerSettings(jobs=limit, interval=QUICK.interval, retry=QUICK.retry)
    async with running(*(Reconciler(store, executor, settings) for _ in range(3))):
        for job in random.Random(limit).sample(sorted(jobs), len(jobs)):
            submit(store, job, timedelta(seconds=int(job)))
        await until(has_left(store, *jobs), 60)
    for job, script in jobs.items():
        expected = v1.TRAINING_JOB_STATE_FAILED if "end 64" in script[1] else v1.TRAINING_JOB_STATE_SUCCEEDED
        assert outcome_of(store, job).state == expected
        assert [number for started, number in executor.starts if started == job] == sorted(script)
        assert len(listed(store, KEYS.ended(job, ""))) == 1


async def test_cancel_under_three_services(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    executor = PretendedExecutor(store, {1: ["claim", "work"]})
    async with running(*(Reconciler(store, executor, QUICK) for _ in range(3))):
        submit(store)
        await until(lambda: len(executor.starts) == 1)
        cancel(store)
        await until(has_left(store))
    assert outcome_of(store).state == v1.TRAINING_JOB_STATE_CANCELLED
    assert len(executor.starts) == 1


def test_who_sees_a_trainer_gone_that_was_stopped_sees_why() -> None:
    store = MemoryStore()
    submit(store)
    put_record(store, KEYS.job(JOB).launch(1), v1.Assignment(launch=1))

    class StoppedMeanwhile(PretendedExecutor):
        def observe(self, tenant: str, job: str, number: int) -> Execution:
            cancel(store)
            return super().observe(tenant, job, number)

    facts = read_facts(store, TENANT, JOB, StoppedMeanwhile(store, {}))
    assert facts is not None
    assert facts.cancel is not None
