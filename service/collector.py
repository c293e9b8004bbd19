"""Removes what is over, while everything runs: jobs are launched, runs write, callers upload, other services do the same.

It holds no locks. What it removes cannot come into use again: either a record that never changes says so, or nobody has
touched it for much longer than anybody pauses. What takes several removals goes in an order in which the rest is, at every
moment, either whole or visibly nothing. A pass that was interrupted is completed by the next one.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

import structlog

from loramill import v1
from service import indexes, keys
from service.adapters import Adapters
from service.caller import Caller
from service.datasets import Datasets
from service.errors import Refused
from service.forgetting import forget
from service.jobs import Jobs
from service.remover import Remover
from service.retention import (
    GRACE,
    Kind,
    Retention,
    is_abandoned,
    is_over,
    left_of_deleted_job,
    of_ended_job,
    outlived,
    unclaimed_blobs,
)
from service.times import to_datetime, utc_now
from store.object_store import ObjectInfo, ObjectStore, RecordError
from store.probe import PROBE_PREFIX
from store.records import read_record
from store.unfinished import HasUnfinished

log = structlog.get_logger(__name__)

PRINCIPAL = "collector"
"""In audit records."""

_PAST_FOLDER = "0"
"""Sorts right behind `/`."""


@dataclass(frozen=True)
class Collector:
    """Passes over the whole store. Synchronous: called in a thread."""

    store: ObjectStore
    jobs: Jobs
    datasets: Datasets
    adapters: Adapters
    remover: Remover
    retention: Retention
    clock: Callable[[], datetime] = utc_now

    def run(self) -> None:
        """One pass. Raises Stopped, and StoreUnavailable: then the rest is for the next pass."""
        for tenant in self._tenants():
            self._tenant(Caller(tenant, PRINCIPAL, "retention", uuid.uuid4().hex))
        for base, group in self._groups(keys.BASES_PREFIX):
            self._base(keys.BaseKeys(base), group)
        self._old(Kind.AUDIT, keys.audit_prefix(keys.SHARED), self.retention.audit)
        self._old(Kind.PROBE, PROBE_PREFIX, GRACE)
        if isinstance(self.store, HasUnfinished) and not self.retention.dry_run:
            count = self.store.abort_unfinished(self.clock() - self.retention.uploads)
            self.remover.counts.removed(Kind.UPLOAD, count, 0)

    def _tenants(self) -> Iterator[str]:
        """Whoever has anything in the store, whether the operator still knows of them or not."""
        after = ""
        while (entry := next(iter(self.store.list("", after)), None)) is not None:
            tenant = keys.part_after("", entry.key)
            if keys.is_tenant(tenant):
                yield tenant
            after = tenant + _PAST_FOLDER

    def _tenant(self, caller: Caller) -> None:
        tenant_keys = keys.TenantKeys(caller.tenant)
        for job, group in self._groups(tenant_keys.jobs_prefix):
            self._guarded(self._job, caller, job, group)
        for dataset, group in self._groups(tenant_keys.datasets_prefix):
            self._guarded(self._dataset, caller, dataset, group)
        for entry in self.store.list(tenant_keys.adapters_prefix) if self.retention.adapters is not None else ():
            self._guarded(self._adapter, caller, entry.key.removeprefix(tenant_keys.adapters_prefix), [])
        self._old(Kind.UPLOAD, tenant_keys.uploads_prefix, self.retention.uploads)
        self._old(Kind.CACHE, tenant_keys.caches, self.retention.caches)
        self._old(Kind.AUDIT, keys.audit_prefix(caller.tenant), self.retention.audit)
        forget(self.store, tenant_keys, self.remover, self.retention.deleted, self.clock())

    def _groups(self, prefix: str) -> Iterator[tuple[str, list[ObjectInfo]]]:
        """The objects below a prefix, one folder after another."""
        for name, entries in groupby(self.store.list(prefix), lambda entry: keys.part_after(prefix, entry.key)):
            yield name, list(entries)

    def _guarded(
        self,
        collect: Callable[[Caller, str, list[ObjectInfo]], None],
        caller: Caller,
        name: str,
        group: list[ObjectInfo],
    ) -> None:
        """Passes over what has a record that cannot be read: it is kept as it is."""
        try:
            collect(caller, name, group)
        except RecordError as error:
            log.error("a record cannot be read; nothing of it is collected", error=str(error))

    def _old(self, kind: Kind, prefix: str, lifetime: timedelta | None) -> None:
        if lifetime is not None:
            self.remover.remove(kind, outlived(self.store.list(prefix), lifetime, self.clock()))

    def _job(self, caller: Caller, job: str, group: list[ObjectInfo]) -> None:
        """A job without outcome or tombstone lives, and is let alone."""
        job_keys = keys.TenantKeys(caller.tenant).job(job)
        now = self.clock()
        tombstone = read_record(self.store, job_keys.tombstone, v1.Tombstone)
        if tombstone is not None:
            left = left_of_deleted_job(job_keys, group)
            if left and is_over(to_datetime(tombstone.create_time), GRACE, now):
                self._delete_job(caller, job, left, tombstone.adapters_deleted)
            return
        outcome = read_record(self.store, job_keys.outcome, v1.Outcome)
        if outcome is None:
            return
        end = to_datetime(outcome.create_time)
        if is_over(end, self.retention.jobs, now):
            self._delete_job(caller, job, left_of_deleted_job(job_keys, group), adapters=False)
            return
        for kind, entry in of_ended_job(job_keys, group, end, now, self.retention):
            self.remover.remove(kind, [entry])

    def _delete_job(self, caller: Caller, job: str, group: list[ObjectInfo], adapters: bool) -> None:
        name = keys.job_name(job)
        self.remover.remove_whole(Kind.JOB, name, group, lambda: self.jobs.delete(caller, job, adapters))

    def _dataset(self, caller: Caller, dataset: str, group: list[ObjectInfo]) -> None:
        dataset_keys = keys.TenantKeys(caller.tenant).dataset(dataset)
        now = self.clock()
        tombstone = read_record(self.store, dataset_keys.tombstone, v1.Tombstone)
        if tombstone is not None:
            left = [entry for entry in group if entry.key != dataset_keys.tombstone]
            if left and is_over(to_datetime(tombstone.create_time), GRACE, now):
                self._delete_dataset(caller, dataset, left)
            return
        manifest = read_record(self.store, dataset_keys.manifest, v1.FileManifest)
        if manifest is not None:
            claimed = {file.sha256 for file in manifest.files}
            self.remover.remove(Kind.BLOB, unclaimed_blobs(dataset_keys, group, claimed, now))
        elif is_abandoned(group, self.retention.unfinished, now):
            self._delete_dataset(caller, dataset, group)

    def _delete_dataset(self, caller: Caller, dataset: str, group: list[ObjectInfo]) -> None:
        def delete() -> None:
            # A deletion that was withdrawn half-way leaves its tombstone to a job that came at the same moment.
            name = keys.dataset_name(dataset)
            job = indexes.living_job(self.store, caller.tenant, lambda record: record.spec.dataset.dataset == name)
            if job is not None:
                raise Refused(f"{name} is used by {keys.job_name(job)}, which has not ended.", "IN_USE")
            self.datasets.delete(caller, dataset)

        self.remover.remove_whole(Kind.DATASET, keys.dataset_name(dataset), group, delete)

    def _adapter(self, caller: Caller, adapter: str, _: list[ObjectInfo]) -> None:
        found = self.adapters.find(caller.tenant, adapter)
        if found is None or not is_over(to_datetime(found.adapter.create_time), self.retention.adapters, self.clock()):
            return
        group = list(self.store.list(found.folder))
        self.remover.remove_whole(
            Kind.ADAPTER, found.adapter.name, group, lambda: self.adapters.delete(caller, adapter)
        )

    def _base(self, base_keys: keys.BaseKeys, group: list[ObjectInfo]) -> None:
        """An import that never came to its end: files first and the claim last, which binds the id to one content."""

        def unfinished() -> bool:
            return read_record(self.store, base_keys.record, v1.BaseModelRecord) is None

        if unfinished() and is_abandoned(group, self.retention.unfinished, self.clock()):
            ordered = sorted(group, key=lambda entry: entry.key == base_keys.claim)
            self.remover.remove(Kind.BASE, ordered, still=unfinished)
