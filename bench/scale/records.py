"""Records to be watched: those of one job that was really made, with other ids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from loramill import v1
from service.assignments import assignment_of
from service.facts import JobFacts
from service.keys import TenantKeys, new_id
from store.object_store import ObjectStore
from store.records import put_record, put_status_record

TENANT = TenantKeys("local")
_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def running_jobs(store: ObjectStore, create: v1.CreateRecord, count: int) -> list[str]:
    """Jobs that train, as their trainers have left them; their ids."""
    jobs = [new_id(_LONG_AGO + timedelta(seconds=number)) for number in range(count)]
    for job in jobs:
        mine, job_keys = _of(create, job), TENANT.job(job)
        put_record(store, job_keys.record, mine)
        put_record(store, job_keys.launch(1), _assignment(store, mine))
        claim = v1.Claim(token=job, holder="bench", create_time=create.create_time)
        put_record(store, job_keys.run(1).claim, claim)
        write_status(store, job, "begun")
        store.put_new(TENANT.active(job), b"bench")
    return jobs


def write_status(store: ObjectStore, job: str, message: str) -> None:
    progress = v1.Progress(phase=v1.PHASE_TRAINING, step=1, steps=10_000, loss=0.1, message=message)
    put_status_record(store, TENANT.job(job).run(1).status, v1.RunStatus(progress=progress))


def _of(create: v1.CreateRecord, job: str) -> v1.CreateRecord:
    mine = v1.CreateRecord()
    mine.CopyFrom(create)
    mine.job_id = job
    return mine


def _assignment(store: ObjectStore, create: v1.CreateRecord) -> v1.Assignment:
    facts = JobFacts(tenant="local", job=create.job_id, create=create)
    return assignment_of(store, facts, 1, datetime.now(UTC), "")
