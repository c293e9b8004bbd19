"""How a job comes to be: checked, resolved, and recorded with one create-only PUT.

The request record is the one point at which a job exists; everything after it can be derived from it, and is completed by a
repetition of the call or by the reconciler's sweep.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from loramill import v1
from service import compute_choice, keys, plan, presets, suggestions
from service.adapters import Adapters, StoredAdapter
from service.audit import Audit
from service.bases import Bases
from service.caller import Caller
from service.compute_classes import LOCAL, ComputeClasses
from service.dataset_names import violations_of_names
from service.datasets import Datasets
from service.errors import InvalidRequest, Refused, ResourceExists
from service.indexes import accept
from service.initial_adapter import pinned
from service.length import length_of
from service.suggestions import with_suggestions
from service.times import to_datetime, to_timestamp, utc_now
from service.validation import violations, violations_of_request_id
from store.object_store import ObjectStore
from store.records import put_record, read_record


@dataclass(frozen=True)
class Acceptance:
    """Accepts jobs, or says everything that is wrong with them. Synchronous: called in threads."""

    store: ObjectStore
    datasets: Datasets
    bases: Bases
    adapters: Adapters
    audit: Audit
    classes: ComputeClasses
    clock: Callable[[], datetime] = utc_now

    def check(self, caller: Caller, request: v1.CreateTrainingJobRequest) -> v1.CreateRecord:
        """The record that the request would make, without making it. Raises InvalidRequest with every violation."""
        base = self._base(request.spec.base_model)
        dataset = self._dataset(caller.tenant, request.spec.dataset.dataset)
        spec = with_suggestions(request.spec, dataset)
        stored = self._initial(caller.tenant, spec.adapter.initial_adapter)
        initial = stored.adapter if stored is not None else None
        found = violations_of_request_id(request.request_id) + violations(spec, base, dataset, initial, self.classes)
        paths: Sequence[str] = ()
        if dataset is not None and dataset.state == v1.DATASET_STATE_FINALIZED:
            paths = self.datasets.paths(caller.tenant, dataset)
            found += violations_of_names(spec, paths)
        if found or base is None or dataset is None:
            raise InvalidRequest(found)
        now = self.clock()
        chosen = compute_choice.class_for(spec, self.classes)
        resolved = presets.resolve(
            spec, base, secrets.randbelow(2**63), initial, LOCAL if chosen is None else chosen.name
        )
        suggestions.credit(resolved, request.spec)
        return v1.CreateRecord(
            job_id=keys.new_id(now),
            sent_spec_sha256=_digest(request.spec),
            spec=resolved,
            create_time=to_timestamp(now),
            warnings=[*suggestions.warnings(request.spec, dataset), *plan.warnings(resolved)],
            base_model=base,
            dataset_digest=dataset.digest,
            initial_adapter=pinned(stored.adapter.files, stored.folder) if stored is not None else None,
            compute=compute_choice.plan_of(chosen, self.classes.currency) if chosen is not None else None,
            length=length_of(resolved, paths),
        )

    def create(self, caller: Caller, request: v1.CreateTrainingJobRequest) -> v1.CreateRecord:
        """The record of the job that this request made, now or when it was first sent.

        Raises InvalidRequest, ResourceExists for a request_id that made another job, Refused where that job was deleted.
        """
        # Without a request_id nothing is de-duplicated: the id drawn here is never seen again.
        key = keys.TenantKeys(caller.tenant).request(request.request_id or uuid.uuid4().hex)
        record = read_record(self.store, key, v1.CreateRecord)
        if record is None:
            record = self._put(caller, request, key)
        if record.sent_spec_sha256 != _digest(request.spec):
            raise ResourceExists(
                f"request_id {request.request_id!r} has already made {keys.job_name(record.job_id)} from another spec; "
                "use a new request_id for another job."
            )
        self._refuse_deleted(caller.tenant, record.job_id)
        accept(self.store, caller.tenant, key, record)
        return record

    def _put(self, caller: Caller, request: v1.CreateTrainingJobRequest, key: str) -> v1.CreateRecord:
        """Records the job; where another call with the same request_id was first, its record."""
        record = self.check(caller, request)
        self.audit.record(caller, keys.job_name(record.job_id))
        put_record(self.store, key, record)
        written = read_record(self.store, key, v1.CreateRecord)
        return record if written is None else written

    def _refuse_deleted(self, tenant: str, job: str) -> None:
        tombstone = read_record(self.store, keys.TenantKeys(tenant).job(job).tombstone, v1.Tombstone)
        if tombstone is not None:
            deleted = to_datetime(tombstone.create_time)
            raise Refused(
                f"{keys.job_name(job)}, which this request_id made, was deleted at {deleted:%Y-%m-%d %H:%M:%S} UTC; "
                "use a new request_id to train again.",
                "JOB_DELETED",
            )

    def _base(self, name: str) -> v1.BaseModel | None:
        base = keys.base_of_name(name)
        return self.bases.find(base) if base is not None else None

    def _dataset(self, tenant: str, name: str) -> v1.Dataset | None:
        dataset = keys.dataset_of_name(name)
        return self.datasets.find(tenant, dataset) if dataset is not None else None

    def _initial(self, tenant: str, name: str) -> StoredAdapter | None:
        adapter = keys.adapter_of_name(name)
        return self.adapters.find(tenant, adapter) if adapter is not None else None


def _digest(spec: v1.TrainingSpec) -> str:
    """SHA-256 of the spec as it was sent."""
    return hashlib.sha256(spec.SerializeToString(deterministic=True)).hexdigest()
