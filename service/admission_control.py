"""Whether waiting jobs begin, as operators have set it: a numbered sequence of records, of which the newest counts."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from loramill import v1
from service import keys
from service.errors import InvalidRequest, Refused, Violation
from service.times import to_timestamp, utc_now
from store.records import put_record, read_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from service.audit import Audit
    from service.caller import Caller
    from service.compute_classes import ComputeClasses
    from store.object_store import ObjectStore

RESOURCE = "admission"
"""As audit records name it."""
_LONGEST_REASON = 500
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
        self._admission = v1.Admission()

    @property
    def admission(self) -> v1.Admission:
        """As it was read last."""
        return self._admission

    def refresh(self) -> v1.Admission:
        """As it is set now. Raises StoreError, and then what was read last still counts."""
        with self._lock:
            later = [entry.key for entry in self._store.list(keys.ADMISSION_PREFIX, self._newest)]
            if later:
                record = read_record(self._store, later[-1], v1.AdmissionRecord)
                if record is not None:
                    self._newest, self._admission = later[-1], record.admission
            return self._admission

    def set(self, caller: Caller, wanted: v1.Admission) -> v1.Admission:
        """Sets it, for all tenants; within seconds every replica knows. Raises InvalidRequest, and StoreError."""
        violations = [*self._violations(wanted)]
        if violations:
            raise InvalidRequest(violations)
        self._audit.record(caller, RESOURCE, keys.SHARED)
        admission = v1.Admission(
            paused=wanted.paused,
            closed_compute_classes=sorted({*wanted.closed_compute_classes}),
            reason=wanted.reason,
            update_time=to_timestamp(self._clock()),
        )
        for _ in range(_ATTEMPTS):
            self.refresh()
            number = keys.number_of(self._newest) + 1 if self._newest else 1
            if put_record(
                self._store, keys.admission(number), v1.AdmissionRecord(schema_version=1, admission=admission)
            ):
                return self.refresh()
        raise Refused("Others set the admission in the same moment; look at it, then set it again.", "CONFLICT")

    def held_back(self, compute_class: str) -> str:
        """Why a waiting job of that class does not begin, in one sentence; empty where it may."""
        admission = self._admission
        because = f": {admission.reason.rstrip('.')}" if admission.reason else ""
        if admission.paused:
            return f"The operator lets no job begin for now{because}."
        if compute_class in admission.closed_compute_classes:
            return f"The operator lets no job begin on {compute_class} for now{because}."
        return ""

    def _violations(self, wanted: v1.Admission) -> Iterator[Violation]:
        for place, name in enumerate(wanted.closed_compute_classes):
            if name not in self._classes.names:
                text = f"is {name[:80]!r}, which is no compute class; choose of {', '.join(self._classes.names)}."
                yield Violation(f"admission.closed_compute_classes[{place}]", text, "UNKNOWN_VALUE")
        if len(wanted.reason) > _LONGEST_REASON:
            text = f"has {len(wanted.reason)} characters, but at most {_LONGEST_REASON} are taken."
            yield Violation("admission.reason", text, "OUT_OF_RANGE")
