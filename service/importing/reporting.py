"""What an import tells of itself while it works: its status object, of which it is the one writer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from loramill import v1
from service.importing import problems
from service.importing.problems import failed
from service.times import to_timestamp, utc_now
from store.object_store import StoreError
from store.records import put_status_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.keys import BaseImportKeys
    from store.object_store import ObjectStore

SIGN_OF_LIFE_S = 5.0
"""Seconds between two signs of life, however long a step takes."""
_NEWS_S = 0.5
"""Seconds between two statuses while there is progress."""

log = structlog.get_logger(__name__)


class Reporter:
    """Keeps the status object up to date. Once it is told to stop, whatever reports progress ends."""

    def __init__(
        self,
        store: ObjectStore,
        import_keys: BaseImportKeys,
        status: v1.BaseModelImport,
        stopped: threading.Event,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.status = status
        self._store = store
        self._keys = import_keys
        self._stopped = stopped
        self._clock = clock
        self._lock = threading.Lock()
        self._written = 0.0

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Gives signs of life while it is entered."""
        ended = threading.Event()

        def live() -> None:
            while not ended.wait(SIGN_OF_LIFE_S):
                self._write()

        self._write()
        thread = threading.Thread(target=live, name="import-status", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def begin(self, phase: v1.BaseModelImportPhase.ValueType, total: int = 0) -> None:
        """Another phase, of that many bytes. Raises ImportFailed once it is told to stop."""
        self._check()
        with self._lock:
            self.status.phase, self.status.bytes_done, self.status.bytes_total = phase, 0, total
        self._write()

    def progress(self, count: int) -> None:
        """So many bytes more. Raises ImportFailed once it is told to stop."""
        self._check()
        with self._lock:
            self.status.bytes_done += count
        if time.monotonic() - self._written > _NEWS_S:
            self._write()

    def _check(self) -> None:
        if self._stopped.is_set():
            raise failed(problems.INTERRUPTED, "The import was stopped with what ran it; import it again.")

    def _write(self) -> None:
        """A status that cannot be written is not worth an import."""
        with self._lock:
            self.status.update_time.CopyFrom(to_timestamp(self._clock()))
            self._written = time.monotonic()
            try:
                put_status_record(self._store, self._keys.status, v1.BaseModelImportStatus(base_import=self.status))
            except StoreError as error:
                log.warning("the import's status could not be written", problem=str(error))
