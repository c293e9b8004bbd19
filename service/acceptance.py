"""How a job comes to be: checked, resolved, and recorded with one create-only PUT.

The request record is the one point at which a job exists; everything after it can be derived from it, and is completed by a
repetition of the call or by the reconciler's sweep.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from loramill import v1
from service import captioning_requests, compute_choice, keys, plan, presets, suggestions
from service.adapters import Adapters, StoredAdapter
from service.audit import Audit
from service.bases import Bases
from service.caller import Caller
from service.captioning_requests import violations_of_captioning
from service.compute_classes import LOCAL, ComputeClasses
from service.dataset_names import violations_of_names
from service.datasets import Datasets
from service.errors import InvalidRequest, Refused, ResourceExists
from service.indexes import accept, complete
from service.initial_adapter import pinned
from service.length import length_of
from service.suggestions import with_suggestions
from service.times import to_datetime, to_timestamp, utc_now
from service.validation import violations, violations_of_request_id
from store.object_store import ObjectStore
from store.records import put_record, read_record
from store.tracing import TRACER, trace_parent


@dataclass(frozen=True)
class Wanted:
    """What a caller wants done, whichever call it came with."""

    kind: v1.JobKind.ValueType
    spec: v1.TrainingSpec
    request_id: str
    captioning: v1.CaptioningSpec = field(default_factory=v1.CaptioningSpec)

    @property
    def sha256(self) -> str:
        """Tells a repetition from a conflict. Of a job that trains it is the spec's alone, as records have it that are older than
        other kinds."""
        sent = self.spec.SerializeToString(deterministic=True)
        if self.kind != v1.JOB_KIND_TRAINING:
            sent += v1.JobKind.Name(self.kind).encode() + self.captioning.SerializeToString(deterministic=True)
        return hashlib.sha256(sent).hexdigest()


class Accepted(NamedTuple):
    """A job that was accepted."""

    record: v1.CreateRecord
    is_new: bool
    """Whether this very call has made it, so that nothing but its record can be there yet."""


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

    def check(self, caller: Caller, wanted: Wanted) -> v1.CreateRecord:
        """The record that the job would have, without making it. Raises InvalidRequest with every violation."""
        if wanted.kind == v1.JOB_KIND_CAPTIONING:
            return self._captioning(caller, wanted)
        base = self._base(wanted.spec.base_model)
        dataset = self._dataset(caller.tenant, wanted.spec.dataset.dataset)
        spec = with_suggestions(wanted.spec, dataset)
        stored = self._initial(caller.tenant, spec.adapter.initial_adapter)
        initial = stored.adapter if stored is not None else None
        found = violations_of_request_id(wanted.request_id)
        trains = wanted.kind == v1.JOB_KIND_TRAINING
        found += violations(spec, base, dataset, initial, self.classes, trains=trains)
        paths: Sequence[str] = ()
        if dataset is not None and dataset.state == v1.DATASET_STATE_FINALIZED:
            paths = self.datasets.paths(caller.tenant, dataset)
            found += violations_of_names(spec, paths)
        if found or base is None or dataset is None:
            raise InvalidRequest(found)
        now = self.clock()
        chosen, further = (
            compute_choice.class_for(spec, self.classes),
            compute_choice.fallbacks_for(spec, self.classes),
        )
        resolved = presets.resolve(
            spec,
            base,
            secrets.randbelow(2**63),
            initial,
            LOCAL if chosen is None else chosen.name,
            [offered.name for offered in further],
        )
        suggestions.credit(resolved, wanted.spec)
        return v1.CreateRecord(
            job_id=keys.new_id(now),
            kind=wanted.kind,
            sent_spec_sha256=wanted.sha256,
            spec=resolved,
            create_time=to_timestamp(now),
            warnings=[*suggestions.warnings(wanted.spec, dataset), *(plan.warnings(resolved) if trains else ())],
            base_model=base,
            dataset_digest=dataset.digest,
            initial_adapter=pinned(stored.adapter.files, stored.folder) if stored is not None else None,
            compute=compute_choice.plan_of(chosen, self.classes.currency) if chosen is not None else None,
            compute_fallbacks=[compute_choice.plan_of(offered, self.classes.currency) for offered in further],
            length=length_of(resolved, paths) if trains else None,
        )

    def _captioning(self, caller: Caller, wanted: Wanted) -> v1.CreateRecord:
        captioner, dataset = (
            self._base(wanted.spec.base_model),
            self._dataset(caller.tenant, wanted.spec.dataset.dataset),
        )
        is_whole = dataset is not None and dataset.state == v1.DATASET_STATE_FINALIZED
        paths = self.datasets.paths(caller.tenant, dataset) if dataset is not None and is_whole else ()
        found = violations_of_request_id(wanted.request_id)
        found += violations_of_captioning(wanted.spec, wanted.captioning, captioner, dataset, paths, self.classes)
        if found or captioner is None or dataset is None:
            raise InvalidRequest(found)
        now, chosen = self.clock(), compute_choice.class_for(wanted.spec, self.classes)
        spec, captioning = captioning_requests.resolved(
            wanted.spec, wanted.captioning, captioner, LOCAL if chosen is None else chosen.name
        )
        return v1.CreateRecord(
            job_id=keys.new_id(now),
            kind=wanted.kind,
            sent_spec_sha256=wanted.sha256,
            spec=spec,
            captioning=captioning,
            create_time=to_timestamp(now),
            base_model=captioner,
            dataset_digest=dataset.digest,
            compute=compute_choice.plan_of(chosen, self.classes.currency) if chosen is not None else None,
        )

    def create(self, caller: Caller, wanted: Wanted) -> Accepted:
        """The job that this request made, now or when it was first sent.

        Raises InvalidRequest, ResourceExists for a request_id that made another job, Refused where that job was deleted.
        """
        # Without a request_id nothing is de-duplicated: the id drawn here is never seen again.
        key = keys.TenantKeys(caller.tenant).request(wanted.request_id or uuid.uuid4().hex)
        record = read_record(self.store, key, v1.CreateRecord)
        accepted = self._put(caller, wanted, key) if record is None else Accepted(record, is_new=False)
        record = accepted.record
        if record.sent_spec_sha256 != wanted.sha256:
            raise ResourceExists(
                f"request_id {wanted.request_id!r} has already made {keys.job_name(record.job_id)} from another spec; "
                "use a new request_id for another job."
            )
        if accepted.is_new:
            with TRACER.start_as_current_span("complete job"):
                complete(self.store, caller.tenant, key, record)
        else:
            self._refuse_deleted(caller.tenant, record.job_id)
            accept(self.store, caller.tenant, key, record)
        return accepted

    def _put(self, caller: Caller, wanted: Wanted, key: str) -> Accepted:
        """Records the job; where another call with the same request_id was first, its record."""
        with TRACER.start_as_current_span("validate"):
            record = self.check(caller, wanted)
        record.trace_parent = trace_parent()
        with TRACER.start_as_current_span("create record", attributes={"loramill.job": record.job_id}):
            self.audit.record(caller, keys.job_name(record.job_id))
            is_new = put_record(self.store, key, record)
        if is_new:
            return Accepted(record, is_new=True)
        written = read_record(self.store, key, v1.CreateRecord)
        return Accepted(record if written is None else written, is_new=False)

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
