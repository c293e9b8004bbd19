"""Records to be watched and to be listed: those of one job that was really made, with other ids."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from loramill import v1
from service.assignments import assignment_of
from service.facts import JobFacts
from service.indexes import put_ended
from service.keys import TenantKeys, new_id
from store.object_store import ObjectStore
from store.records import put_record, put_status_record

TENANT = TenantKeys("local")
_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
FAILED_OF = 5
"""One in so many ended jobs has failed in its first launch; the others were cancelled while they waited."""
_WRITERS = 8


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


def ended_jobs(store: ObjectStore, create: v1.CreateRecord, count: int) -> None:
    """Jobs that have ended, a second after one another."""

    def write(number: int) -> None:
        job = new_id(_LONG_AGO + timedelta(seconds=number))
        mine, job_keys = _of(create, job), TENANT.job(job)
        put_record(store, job_keys.record, mine)
        if number % FAILED_OF:
            put_record(store, job_keys.cancel, v1.CancelIntent(create_time=create.create_time))
            state, reason = v1.TRAINING_JOB_STATE_CANCELLED, v1.STATE_REASON_CANCELLED_BY_USER
            message = "Was cancelled before anything was saved."
        else:
            state, reason = v1.TRAINING_JOB_STATE_FAILED, v1.STATE_REASON_USER_ERROR
            message = "No picture of the dataset can be read."
            put_record(store, job_keys.launch(1), _assignment(store, mine))
            claim = v1.Claim(token=job, holder="bench", create_time=create.create_time)
            put_record(store, job_keys.run(1).claim, claim)
            end = v1.End(exit_code=v1.EXIT_CODE_USER_ERROR, message=message, create_time=create.create_time)
            put_record(store, job_keys.run(1).end, end)
        outcome = v1.Outcome(state=state, reason=reason, message=message, create_time=create.create_time)
        put_record(store, job_keys.outcome, outcome)
        put_ended(store, TENANT.tenant, job, outcome)

    with ThreadPoolExecutor(_WRITERS) as writers:
        list(writers.map(write, range(count)))


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
