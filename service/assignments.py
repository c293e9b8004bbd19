"""A job and the number of a launch → everything that its trainer needs to know. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loramill import v1
from service.keys import BaseKeys, TenantKeys, base_of_name, dataset_of_name, job_name
from service.times import to_timestamp
from store.records import uri_of

if TYPE_CHECKING:
    from datetime import datetime

    from service.facts import JobFacts
    from store.object_store import ObjectStore


def assignment_of(store: ObjectStore, facts: JobFacts, number: int, now: datetime) -> v1.Assignment:
    """The assignment of launch `number`. Of the store only its address is used."""
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
        compute_class=facts.create.compute.compute_class,
    )


def _required(found: str | None, what: str, name: str) -> str:
    if found is None:
        raise ValueError(
            f"The recorded spec names the {what} {name!r}, which is no resource name; the record is damaged."
        )
    return found
