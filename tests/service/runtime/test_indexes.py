"""The indexes follow the record."""

from __future__ import annotations

import pytest

from loramill import v1
from service import indexes
from service.keys import TenantKeys
from store.object_store import ObjectStore
from store.records import put_record
from tests.service.runtime.world import JOB, KEYS, TENANT, MemoryStore, create_record, facts_of, listed, submit

SUCCEEDED = v1.Outcome(state=v1.TRAINING_JOB_STATE_SUCCEEDED)


def requested(store: ObjectStore) -> None:
    put_record(store, KEYS.request(JOB), create_record())


def with_job_record(store: ObjectStore) -> None:
    requested(store)
    put_record(store, KEYS.job(JOB).record, create_record())


@pytest.mark.parametrize("left", [requested, with_job_record])
def test_the_sweep_completes_what_a_create_left(left: object) -> None:
    store = MemoryStore()
    left(store)  # type: ignore[operator]
    assert indexes.sweep(store, TENANT) == [JOB]
    assert list(indexes.active_jobs(store, TENANT)) == [JOB]
    assert facts_of(store).create.job_id == JOB
    assert indexes.sweep(store, TENANT) == []


def test_the_sweep_lets_a_lost_index_of_an_ended_job_be_written_again() -> None:
    store = MemoryStore()
    with_job_record(store)
    put_record(store, KEYS.job(JOB).outcome, SUCCEEDED)
    assert indexes.sweep(store, TENANT) == [JOB]  # active, until the reconciler has finished it once more
    indexes.put_ended(store, TENANT, JOB, SUCCEEDED)
    indexes.clear_active(store, TENANT, JOB)
    assert indexes.sweep(store, TENANT) == []


def test_the_sweep_passes_over_what_it_cannot_read() -> None:
    store = MemoryStore()
    store.objects[KEYS.request("damaged")] = b"{"
    requested(store)
    assert indexes.sweep(store, TENANT) == [JOB]


@pytest.mark.parametrize("ended", ["outcome", "tombstone"])
def test_a_repeated_create_revives_nothing(ended: str) -> None:
    store = MemoryStore()
    submit(store)
    indexes.clear_active(store, TENANT, JOB)
    record = SUCCEEDED if ended == "outcome" else v1.Tombstone()
    put_record(store, getattr(KEYS.job(JOB), ended), record)
    indexes.accept(store, TENANT, KEYS.request(JOB), create_record())
    assert listed(store, KEYS.active_prefix) == []
    if ended == "tombstone":
        assert indexes.sweep(store, TENANT) == []


def test_the_living_jobs_of_all_tenants_are_one_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    store, asked = MemoryStore(), list[str]()
    for tenant in ("a", "b", "c-d"):
        indexes.accept(store, tenant, TenantKeys(tenant).request("r"), create_record())
    list_all = store.list
    monkeypatch.setattr(store, "list", lambda prefix, *after: (asked.append(prefix), list_all(prefix, *after))[1])
    assert list(indexes.all_active_jobs(store)) == [("a", JOB), ("b", JOB), ("c-d", JOB)]
    assert len(asked) == 1
    assert list(indexes.active_jobs(store, "c-d")) == [JOB]


def test_ended_jobs_are_listed_with_their_state_page_by_page() -> None:
    store = MemoryStore()
    states = [v1.TRAINING_JOB_STATE_FAILED, v1.TRAINING_JOB_STATE_SUCCEEDED, v1.TRAINING_JOB_STATE_CANCELLED]
    jobs = [(f"{number:016d}", state) for number, state in enumerate(states)]
    for job, state in jobs:
        indexes.put_ended(store, TENANT, job, v1.Outcome(state=state))
    assert list(indexes.ended_jobs(store, TENANT)) == jobs
    for place, (job, _) in enumerate(jobs, start=1):
        assert list(indexes.ended_jobs(store, TENANT, after=job)) == jobs[place:]
