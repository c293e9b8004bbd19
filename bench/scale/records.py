"""Records to be watched and listed: those of one job that was really made, with other ids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from google.protobuf.json_format import MessageToJson

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


def ended_jobs(store: ObjectStore, create: v1.CreateRecord, count: int, failed_of: int, bucket: Path) -> None:
    """Jobs that have ended, one of `failed_of` of them by an error; straight into the server's folder, which saves minutes."""
    template = running_jobs(store, create, 1)[0]
    kept = [entry.key for entry in store.list(TENANT.job(template).root)]
    contents = {key: store.get(key) for key in kept}
    store.delete(TENANT.active(template))
    end = v1.End(exit_code=v1.EXIT_CODE_SUCCESS, message="Done.", create_time=create.create_time)
    put_record(store, TENANT.job(template).run(1).end, end)
    contents[TENANT.job(template).run(1).end] = store.get(TENANT.job(template).run(1).end)
    for number in range(count):
        job = new_id(_LONG_AGO - timedelta(seconds=number))
        failed = number % failed_of == 0
        state = v1.TRAINING_JOB_STATE_FAILED if failed else v1.TRAINING_JOB_STATE_SUCCEEDED
        outcome = v1.Outcome(state=state, create_time=create.create_time, message="Ended.")
        for key, content in contents.items():
            _write(bucket, key.replace(template, job), content.replace(template.encode(), job.encode()))
        key = TENANT.job(job).outcome
        _write(bucket, key, _json(outcome))
        _write(bucket, TENANT.ended(job, "FAILED" if failed else "SUCCEEDED"), key.encode())
    for entry in list(store.list(TENANT.job(template).root)):
        store.delete(entry.key)


def _of(create: v1.CreateRecord, job: str) -> v1.CreateRecord:
    mine = v1.CreateRecord()
    mine.CopyFrom(create)
    mine.job_id = job
    return mine


def _assignment(store: ObjectStore, create: v1.CreateRecord) -> v1.Assignment:
    facts = JobFacts(tenant="local", job=create.job_id, create=create)
    return assignment_of(store, facts, 1, datetime.now(UTC), "")


def _json(message: v1.Outcome) -> bytes:
    message.schema_version = 1
    return MessageToJson(message, indent=None).encode()


def _write(bucket: Path, key: str, content: bytes) -> None:
    path = bucket / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
