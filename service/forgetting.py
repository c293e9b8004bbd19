"""Forgets what was deleted long ago: the records of the requests that made it, then its tombstone.

The order is all: a request's record without the tombstone would make a repeated call, or a service that starts, bring the
deleted thing back. So a tombstone goes only in a pass that finds no request for it any more, which is later than the pass
that removed the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

import structlog

from loramill import v1
from service.keys import TenantKeys, part_after
from service.remover import Remover
from service.retention import Kind, is_over
from store.object_store import ObjectInfo, ObjectStore, RecordError
from store.records import M, read_record

log = structlog.get_logger(__name__)

Tombstones = Mapping[str, ObjectInfo]
"""By the id of what was deleted."""


def forget(store: ObjectStore, tenant: TenantKeys, remover: Remover, lifetime: timedelta | None, now: datetime) -> None:
    """Forgets jobs, datasets and adapters of a tenant that were deleted that long ago. Raises Stopped, StoreUnavailable."""
    jobs = _alone(store, tenant.jobs_prefix, lambda job: tenant.job(job).tombstone)
    datasets = _alone(store, tenant.datasets_prefix, lambda dataset: tenant.dataset(dataset).tombstone)
    adapters = _of_adapters(store, tenant)
    requests = _Requests(store, remover)
    requests.forget(_old(jobs, lifetime, now), tenant.requests_prefix, v1.CreateRecord, lambda record: record.job_id)
    requests.forget(
        _old(datasets, lifetime, now),
        tenant.dataset_requests_prefix,
        v1.DatasetRecord,
        lambda record: record.dataset.name.partition("/")[2],
    )
    requests.forget(
        _old(adapters, lifetime, now),
        tenant.adapter_requests_prefix,
        v1.AdapterManifest,
        lambda record: record.adapter.name.partition("/")[2],
    )


@dataclass(frozen=True)
class _Requests:
    store: ObjectStore
    remover: Remover

    def forget(self, tombstones: Tombstones, prefix: str, message_type: type[M], id_of: Callable[[M], str]) -> None:
        """Removes the request records of what the tombstones stand for, and the tombstones that have none.

        Every record is read, however new it looks: a store that was copied has none of the old times.
        """
        if not tombstones:
            return
        asked_for: set[str] = set()
        try:
            for entry in self.store.list(prefix):
                record = read_record(self.store, entry.key, message_type)
                if record is not None and (found := id_of(record)) in tombstones:
                    asked_for.add(found)
                    self.remover.remove(Kind.REQUEST, [entry])
        except RecordError as error:
            log.error("a request record cannot be read; no tombstone is forgotten", error=str(error))
            return
        self.remover.remove(Kind.TOMBSTONE, (entry for name, entry in tombstones.items() if name not in asked_for))


def _alone(store: ObjectStore, prefix: str, tombstone: Callable[[str], str]) -> Iterator[tuple[str, ObjectInfo]]:
    """Tombstones that are all that is left of something."""
    for name, entries in groupby(store.list(prefix), lambda entry: part_after(prefix, entry.key)):
        group = list(entries)
        if [entry.key for entry in group] == [tombstone(name)]:
            yield name, group[0]


def _of_adapters(store: ObjectStore, tenant: TenantKeys) -> Iterator[tuple[str, ObjectInfo]]:
    """Tombstones of adapters that are in the index no more, which is the last thing that a deletion does."""
    listed = {entry.key.removeprefix(tenant.adapters_prefix) for entry in store.list(tenant.adapters_prefix)}
    for entry in store.list(tenant.deleted_adapters_prefix):
        adapter = entry.key.removeprefix(tenant.deleted_adapters_prefix).removesuffix(".json")
        if adapter not in listed:
            yield adapter, entry


def _old(tombstones: Iterator[tuple[str, ObjectInfo]], lifetime: timedelta | None, now: datetime) -> Tombstones:
    return {name: entry for name, entry in tombstones if is_over(entry.modified, lifetime, now)}
