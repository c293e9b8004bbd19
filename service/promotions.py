"""Which of a job's adapters is the preferred one: promoted last, else the final one. Promotions are numbered, create-only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from loramill import v1
from service import keys
from service.times import to_timestamp, utc_now
from store.object_store import ObjectStore
from store.records import put_record, read_record


@dataclass(frozen=True)
class Promotions:
    """The promotions of the record. Synchronous: called in threads."""

    store: ObjectStore
    clock: Callable[[], datetime] = utc_now

    def preferred(self, tenant: str, job: str) -> str | None:
        """The id of the job's preferred adapter, of those that exist; None where none does."""
        tenant_keys = keys.TenantKeys(tenant)
        entries = self.store.list(tenant_keys.adapters_of(job))
        existing = {keys.part_after(tenant_keys.adapters_prefix, entry.key) for entry in entries}
        for adapter in (*reversed(self._promoted(tenant, job)), f"{job}-final"):
            # A slow writer may bring back the index entry of one that was deleted.
            deleted = tenant_keys.deleted_adapter(adapter)
            if adapter in existing and read_record(self.store, deleted, v1.Tombstone) is None:
                return adapter
        return None

    def promote(self, tenant: str, job: str, adapter: str) -> None:
        """Takes the next number; whoever promotes at the same moment takes another."""
        number = len(self._promoted(tenant, job)) + 1
        record = v1.Promotion(
            schema_version=1, adapter=keys.adapter_name(adapter), create_time=to_timestamp(self.clock())
        )
        while not put_record(self.store, keys.TenantKeys(tenant).promotion(job, number), record):
            number += 1

    def _promoted(self, tenant: str, job: str) -> list[str]:
        found = []
        for entry in self.store.list(keys.TenantKeys(tenant).promotions_of(job)):
            record = read_record(self.store, entry.key, v1.Promotion)
            if record is not None:
                found.append(record.adapter.rpartition("/")[2])
        return found
