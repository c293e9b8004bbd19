"""Whether waiting jobs begin, as operators have set it: a numbered sequence of records, of which the newest counts."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from loramill import v1
from service import holds, keys
from service.caller import Caller
from service.errors import InvalidRequest, Refused, Violation
from service.times import to_datetime, to_timestamp, utc_now
from store.records import put_record, read_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from service.audit import Audit
    from service.compute_classes import ComputeClasses
    from service.facts import JobFacts
    from store.object_store import ObjectStore

log = structlog.get_logger(__name__)

RESOURCE = "admission"
"""As audit records name it."""
_LONGEST_REASON = 500
_SERVICE = Caller(tenant="", principal="service", method="restore", call_id="")
"""Who pauses after a restore."""
_ATTEMPTS = 5
"""Operators who set it in the same moment: each is told what counts in the end."""


class AdmissionControl:
    """What was read last is kept, so that asking costs nothing; `refresh` looks for what others have set."""

    def __init__(
        self, store: ObjectStore, classes: ComputeClasses, audit: Audit, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._store = store
        self._classes = classes
        self._audit = audit
        self._clock = clock
        self._lock = threading.Lock()
        self._newest = ""
        """Key of the record that was read last."""
        self._record = v1.AdmissionRecord()

    @property
    def admission(self) -> v1.Admission:
        """As it was read last."""
        return self._record.admission

    @property
    def acknowledged(self) -> datetime | None:
        """When an operator last ended the pause after a restore, as it was read last; None if nobody ever did."""
        record = self._record
        return to_datetime(record.restore_acknowledged_time) if record.HasField("restore_acknowledged_time") else None

    def refresh(self) -> v1.Admission:
        """As it is set now. Raises StoreError, and then what was read last still counts."""
        with self._lock:
            later = [entry.key for entry in self._store.list(keys.ADMISSION_PREFIX, self._newest)]
            if later:
                record = read_record(self._store, later[-1], v1.AdmissionRecord)
                if record is not None:
                    self._newest, self._record = later[-1], record
            return self._record.admission

    def set(self, caller: Caller, wanted: v1.Admission) -> v1.Admission:
        """Sets it, for all tenants; within seconds every replica knows. Raises InvalidRequest, and StoreError."""
        violations = [*self._violations(wanted)]
        if violations:
            raise InvalidRequest(violations)
        self._audit.record(caller, RESOURCE, keys.SHARED)
        return self._append(wanted, restored=wanted.restored)

    def pause_for_restore(self, reason: str) -> None:
        """Holds everything back, since the store seems to be an older copy of itself. Nothing changes where that is so already.
        Raises StoreError."""
        if self.refresh().restored:
            return
        self._audit.record(_SERVICE, RESOURCE, keys.SHARED)
        paused = v1.Admission()
        paused.CopyFrom(self.admission)
        paused.paused, paused.reason = True, reason[:_LONGEST_REASON]
        self._append(paused, restored=True)
        log.warning("nothing is launched until an operator resumes the admission", reason=reason)

    def pause_once_for(self, restore: str) -> None:
        """The same for a restore that the operator has named, and only the first time that it is named. Raises StoreError."""
        key = keys.restore(restore)
        if read_record(self._store, key, v1.RestoreRecord) is None:
            self.pause_for_restore(f"the store was restored ({restore})")
            put_record(self._store, key, v1.RestoreRecord(name=restore, create_time=to_timestamp(self._clock())))

    def held_back(self, compute_class: str) -> str:
        """Why a waiting job of that class does not begin, in one sentence; empty where it may."""
        return holds.held_back(self.admission, [compute_class], first=True)

    def held_back_job(self, facts: JobFacts) -> str:
        """Why no launch of the job begins, in one sentence; empty where one may."""
        return holds.held_back_job(self.admission, facts)

    def _append(self, wanted: v1.Admission, *, restored: bool) -> v1.Admission:
        for _ in range(_ATTEMPTS):
            before = self.refresh()
            now = to_timestamp(self._clock())
            record = v1.AdmissionRecord(
                schema_version=1,
                admission=v1.Admission(
                    paused=wanted.paused,
                    closed_compute_classes=sorted({*wanted.closed_compute_classes}),
                    drained_compute_classes=sorted({*wanted.drained_compute_classes}),
                    reason=wanted.reason,
                    restored=restored,
                    update_time=now,
                ),
            )
            if before.restored and not restored:
                record.restore_acknowledged_time.CopyFrom(now)
            elif self._record.HasField("restore_acknowledged_time"):
                record.restore_acknowledged_time.CopyFrom(self._record.restore_acknowledged_time)
            number = keys.number_of(self._newest) + 1 if self._newest else 1
            if put_record(self._store, keys.admission(number), record):
                return self.refresh()
        raise Refused("Others set the admission in the same moment; look at it, then set it again.", "CONFLICT")

    def _violations(self, wanted: v1.Admission) -> Iterator[Violation]:
        for classes in ("closed_compute_classes", "drained_compute_classes"):
            for place, name in enumerate(getattr(wanted, classes)):
                if name not in self._classes.names:
                    field = f"admission.{classes}[{place}]"
                    known = ", ".join(self._classes.names)
                    text = f"{field} is {name[:80]!r}, which is no compute class; choose of {known}."
                    yield Violation(field, text, "UNKNOWN_VALUE")
        if wanted.restored and not self.refresh().restored:
            text = "admission.restored is true, but only the service sets it; leave it out, or set paused."
            yield Violation("admission.restored", text, "NOT_SUPPORTED")
        if wanted.restored and not wanted.paused:
            text = "admission.paused is false while restored is true; set both to false to let everything go on."
            yield Violation("admission.paused", text, "CONFLICT")
        if len(wanted.reason) > _LONGEST_REASON:
            text = f"admission.reason has {len(wanted.reason)} characters, but at most {_LONGEST_REASON} are taken."
            yield Violation("admission.reason", text, "OUT_OF_RANGE")
