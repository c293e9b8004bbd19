"""The append-only record of changes: who was about to change what, written before the change takes place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loramill import v1
from service import keys
from service.times import to_timestamp, utc_now
from store.records import put_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from service.caller import Caller
    from store.object_store import ObjectStore


class Audit:
    """Writes audit records. What it cannot record does not happen: its errors end the call."""

    def __init__(self, store: ObjectStore, clock: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._clock = clock

    def record(self, caller: Caller, resource: str, tenant: str | None = None) -> None:
        """`resource` is the resource name; `tenant` is given for what all tenants share."""
        now = self._clock()
        entry = v1.AuditRecord(
            create_time=to_timestamp(now),
            principal=caller.principal,
            method=caller.method,
            resource=resource,
            call_id=caller.call_id,
        )
        put_record(self._store, keys.audit(tenant or caller.tenant, keys.new_id(now)), entry)
