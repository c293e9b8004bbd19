"""A job and the number of a launch → everything that its trainer needs to know. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loramill import v1
from service.keys import BaseKeys, TenantKeys, base_of_name, dataset_of_name, job_name
from service.times import to_timestamp
from store.newer import unknown_choices
from store.object_store import RecordError
from store.records import fields_as_written, uri_of

if TYPE_CHECKING:
    from datetime import datetime

    from service.facts import JobFacts
    from store.object_store import ObjectStore


_RECORD = v1.CreateRecord.DESCRIPTOR
_PASSED_ON = ("spec", "baseModel", "captioning")
"""Fields that a job's record and an assignment have alike."""


def assignment_of(
    store: ObjectStore, facts: JobFacts, number: int, now: datetime, compute_class: str = ""
) -> v1.Assignment:
    """The assignment of launch `number` on that class; empty in local mode. Of the store only its address is used."""
    spec = facts.create.spec
    tenant = TenantKeys(facts.tenant)
    job, initial = tenant.job(facts.job), facts.create.initial_adapter
    base = BaseKeys(_required(base_of_name(spec.base_model), "base model", spec.base_model))
    dataset = tenant.dataset(_required(dataset_of_name(spec.dataset.dataset), "dataset", spec.dataset.dataset))
    return v1.Assignment(
        schema_version=1,
        training_job=job_name(facts.job),
        launch=number,
        spec=spec,
        job_create_time=facts.create.create_time,
        create_time=to_timestamp(now),
        base_model=facts.create.base_model,
        base_model_uri=uri_of(store, base.files),
        dataset_manifest_uri=uri_of(store, dataset.manifest),
        dataset_blobs_uri=uri_of(store, dataset.blobs),
        control_uri=uri_of(store, job.control),
        runs_uri=uri_of(store, job.runs),
        run_uri=uri_of(store, job.run(number).root),
        line_uri=uri_of(store, job.line),
        cache_uri=uri_of(store, tenant.caches),
        initial_adapter_uri=uri_of(store, initial.key) if initial.key else "",
        initial_adapter_sha256=initial.file.sha256,
        compute_class=compute_class,
        kind=facts.create.kind or v1.JOB_KIND_TRAINING,
        captioning=facts.create.captioning if facts.create.HasField("captioning") else None,
    )


def leads_elsewhere(store: ObjectStore, facts: JobFacts) -> bool:
    """Whether the newest launch was recorded in another place than this store, of which it is a copy."""
    newest, control = facts.newest, TenantKeys(facts.tenant).job(facts.job).control
    return newest is not None and newest.assignment.control_uri != uri_of(store, control)


def passed_on(store: ObjectStore, facts: JobFacts) -> dict[str, Any]:
    """What an assignment takes from the job's record as it stands there, by JSON name: a newer service may have accepted the job,
    and its trainer shall know all that was asked for. Raises RecordError for a job that this version cannot launch rightly."""
    key = TenantKeys(facts.tenant).job(facts.job).record
    written = fields_as_written(store, key)
    taken = {name: written[name] for name in _PASSED_ON if name in written}
    newer = list(unknown_choices({name: value for name, value in written.items() if name not in taken}, _RECORD))
    if newer:
        raise RecordError(
            f"{uri_of(store, key)} was written by a newer service, which knows {', '.join(newer)}; upgrade this one to launch it"
        )
    return taken


def _required(found: str | None, what: str, name: str) -> str:
    if found is None:
        raise ValueError(
            f"The recorded spec names the {what} {name!r}, which is no resource name; the record is damaged."
        )
    return found
