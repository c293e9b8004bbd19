"""How the imports of a base model stand, from the record and from what carries them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from loramill import v1
from service import keys
from service.importing import problems
from service.importing.launching import ImportLauncher
from service.times import to_datetime, utc_now
from store.object_store import ObjectStore
from store.records import read_record

SILENCE = timedelta(seconds=60)
"""Without a sign of life for so long, an import of which nothing else is known counts as dead."""
BEGINNING = timedelta(seconds=5)
"""For so long an import that has not said anything yet may still be about to be begun by whoever wrote its request down."""


@dataclass(frozen=True)
class ImportStates:
    store: ObjectStore
    launcher: ImportLauncher
    clock: Callable[[], datetime] = utc_now

    def newest(self, base: str) -> v1.BaseModelImport | None:
        """The newest import of an id; None if there was none. May raise ExecutorError."""
        number = self.newest_number(base)
        return self.of(base, number) if number else None

    def newest_number(self, base: str) -> int:
        """0 if there was none."""
        base_keys = keys.BaseKeys(base)
        numbers = (base_keys.number_of_import(entry.key) for entry in self.store.list(base_keys.imports_prefix))
        return max(numbers, default=0)

    def of(self, base: str, number: int) -> v1.BaseModelImport | None:
        """None if there is no such import."""
        import_keys = keys.BaseKeys(base).import_(number)
        end = read_record(self.store, import_keys.end, v1.BaseModelImportStatus)
        if end is not None:
            return end.base_import
        record = read_record(self.store, import_keys.request, v1.BaseModelImportRecord)
        if record is None:
            return None
        status = read_record(self.store, import_keys.status, v1.BaseModelImportStatus)
        found = status.base_import if status is not None else begun(record)
        seen = self.launcher.observe(base, number, record.request)
        found.message = seen.message
        sign = found.update_time if found.HasField("update_time") else record.create_time
        silence = self.clock() - to_datetime(sign)
        gone = seen.alive is False and (status is not None or silence > BEGINNING)
        if gone or (seen.alive is None and silence > SILENCE):
            # It may have ended just before it was looked at.
            end = read_record(self.store, import_keys.end, v1.BaseModelImportStatus)
            return end.base_import if end is not None else _lost(found)
        return found


def begun(record: v1.BaseModelImportRecord) -> v1.BaseModelImport:
    """An import that has not said anything yet."""
    return v1.BaseModelImport(
        number=record.number,
        state=v1.BASE_MODEL_IMPORT_STATE_RUNNING,
        source_uri=record.request.source_uri,
        vae_source_uri=record.request.vae_source_uri,
        create_time=record.create_time,
    )


def _lost(found: v1.BaseModelImport) -> v1.BaseModelImport:
    text = found.message or "The import ended without a word, as when its process or machine is taken away."
    found.state = v1.BASE_MODEL_IMPORT_STATE_FAILED
    found.message = f"{text.rstrip('.')}; import it again."
    found.problems.add(reason=problems.INTERRUPTED, description=found.message)
    return found
