"""The indexes `active/`, `ended/` and `adapters/`: written after the record, rebuilt from it, never trusted before it.

Each entry holds the key of the record that it stands for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from loramill import v1
from service.keys import ACTIVE_PREFIX, TenantKeys
from store.object_store import LISTED_AT_ONCE, AlreadyExists, RecordError
from store.records import put_record, read_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from store.object_store import ObjectStore

log = structlog.get_logger(__name__)

_STATE_PREFIX = "TRAINING_JOB_STATE_"


def accept(store: ObjectStore, tenant: str, request_key: str, record: v1.CreateRecord) -> None:
    """Completes a job whose request record stands at `request_key`. May be repeated at any time.

    A job that has ended or was deleted is not made active again. (A repetition that races with the end of the job may
    leave an entry in `active/`; the reconciler finds the outcome and removes it.)
    """
    job = TenantKeys(tenant).job(record.job_id)
    if read_record(store, job.tombstone, v1.Tombstone) is not None:
        return
    if read_record(store, job.outcome, v1.Outcome) is None:
        complete(store, tenant, request_key, record)
    else:
        put_record(store, job.record, record)


def complete(store: ObjectStore, tenant: str, request_key: str, record: v1.CreateRecord) -> None:
    """The same for a job that has neither ended nor been deleted, as of one that was recorded just now."""
    keys = TenantKeys(tenant)
    put_record(store, keys.job(record.job_id).record, record)
    _put_entry(store, keys.active(record.job_id), request_key)


def active_jobs(store: ObjectStore, tenant: str) -> Iterator[str]:
    """Ids of jobs that may be alive, newest first."""
    prefix = TenantKeys(tenant).active_prefix
    return (entry.key.removeprefix(prefix) for entry in store.list(prefix))


def all_active_jobs(store: ObjectStore, after: str = "") -> Iterator[tuple[str, str]]:
    """(tenant, id) of jobs that may be alive, of all tenants: one listing, however many they are; `after` is `<tenant>/<id>`."""
    for entry in store.list(ACTIVE_PREFIX, f"{ACTIVE_PREFIX}{after}" if after else ""):
        tenant, _, job = entry.key.removeprefix(ACTIVE_PREFIX).partition("/")
        yield tenant, job


def living_job(store: ObjectStore, tenant: str, uses: Callable[[v1.CreateRecord], bool]) -> str | None:
    """The id of a job that has not ended and whose record is such."""
    for job in active_jobs(store, tenant):
        job_keys = TenantKeys(tenant).job(job)
        record = read_record(store, job_keys.record, v1.CreateRecord)
        if record is not None and uses(record) and read_record(store, job_keys.outcome, v1.Outcome) is None:
            return job
    return None


def ended_jobs(
    store: ObjectStore, tenant: str, after: str = "", at_once: int = LISTED_AT_ONCE
) -> Iterator[tuple[str, v1.TrainingJobState.ValueType]]:
    """(id, state) of ended jobs behind the job `after`, newest first; about so many are taken `at_once`. Reads no objects."""
    prefix = TenantKeys(tenant).ended_prefix
    # "z" sorts behind every state's capital letters: the listing starts behind all entries of the job.
    for entry in store.list(prefix, f"{prefix}{after}.z" if after else "", at_once):
        job, _, state = entry.key.removeprefix(prefix).partition(".")
        yield job, v1.TrainingJobState.Value(_STATE_PREFIX + state)


def put_ended(store: ObjectStore, tenant: str, job: str, outcome: v1.Outcome) -> None:
    keys = TenantKeys(tenant)
    _put_entry(store, keys.ended(job, _state_word(outcome.state)), keys.job(job).outcome)


def put_adapter(store: ObjectStore, tenant: str, adapter: str, manifest_key: str) -> None:
    """`adapter` is the id. One that is listed already stays as it is."""
    _put_entry(store, TenantKeys(tenant).adapter(adapter), manifest_key)


def clear_active(store: ObjectStore, tenant: str, job: str) -> None:
    store.delete(TenantKeys(tenant).active(job))


def clear_removed(store: ObjectStore, tenant: str, job: str) -> None:
    """Takes a job that has no record from the living, if it was deleted; else its record may be about to be written."""
    if read_record(store, TenantKeys(tenant).job(job).tombstone, v1.Tombstone) is not None:
        clear_active(store, tenant, job)


def clear_deleted(store: ObjectStore, tenant: str, job: str, outcome: v1.Outcome | None) -> None:
    """Removes the entries of a job that has a tombstone; those of its adapters are its deleter's."""
    if outcome is not None:
        store.delete(TenantKeys(tenant).ended(job, _state_word(outcome.state)))
    clear_active(store, tenant, job)


def sweep(store: ObjectStore, tenant: str) -> list[str]:
    """Completes the jobs that were recorded and left half-made; their ids. One read a request: for the start only.

    A job that is in `active/` or `ended/` is complete by the order of writes.
    """
    listed = {*active_jobs(store, tenant), *(job for job, _ in ended_jobs(store, tenant))}
    completed = []
    for entry in store.list(f"{tenant}/requests/"):
        try:
            record = read_record(store, entry.key, v1.CreateRecord)
        except RecordError as error:
            log.error("a request record cannot be read; its job is passed over", error=str(error))
            continue
        if record is not None and record.job_id not in listed and _complete(store, tenant, entry.key, record):
            completed.append(record.job_id)
    return completed


def _complete(store: ObjectStore, tenant: str, request_key: str, record: v1.CreateRecord) -> bool:
    if read_record(store, TenantKeys(tenant).job(record.job_id).tombstone, v1.Tombstone) is not None:
        return False
    # Even where an outcome exists: the reconciler then writes the other indexes again and clears this one.
    complete(store, tenant, request_key, record)
    return True


def _state_word(state: v1.TrainingJobState.ValueType) -> str:
    return v1.TrainingJobState.Name(state).removeprefix(_STATE_PREFIX)


def _put_entry(store: ObjectStore, key: str, points_to: str) -> None:
    try:
        store.put_new(key, points_to.encode())
    except AlreadyExists:
        return
