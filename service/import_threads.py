"""Imports in threads of the service: of one machine, and of what lies in a replica's own file system."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from loramill import v1
from service.importing.launching import Seen
from service.importing.work import Workshop, run_import
from store.object_store import StoreError

log = structlog.get_logger(__name__)

_STOP_S = 3.0
"""Seconds that imports have to record that they were stopped."""


@dataclass(frozen=True)
class ImportThreads:
    """See ImportLauncher."""

    shop: Workshop
    alone: bool
    """Whether no other service uses the store: then what does not run here does not run."""
    _threads: dict[tuple[str, int], threading.Thread] = field(default_factory=dict)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, base: str, number: int, request: v1.ImportBaseModelRequest) -> None:
        del request  # it is in the store
        with self._lock:
            for key in [key for key, thread in self._threads.items() if not thread.is_alive()]:
                del self._threads[key]
            if (base, number) not in self._threads and not self._stopped.is_set():
                thread = threading.Thread(target=self._run, args=(base, number), name=f"import-{base}", daemon=True)
                self._threads[base, number] = thread
                thread.start()

    def observe(self, base: str, number: int, request: v1.ImportBaseModelRequest) -> Seen:
        del request
        with self._lock:
            thread = self._threads.get((base, number))
        if thread is not None and thread.is_alive():
            return Seen(alive=True)
        return Seen(alive=False if self.alone else None)

    @contextmanager
    def running(self) -> Iterator[None]:
        """When it is left, imports are told to stop, and have a while for it."""
        try:
            yield
        finally:
            self._stopped.set()
            for thread in list(self._threads.values()):
                thread.join(_STOP_S)

    def _run(self, base: str, number: int) -> None:
        try:
            run_import(self.shop, base, number, self._stopped)
        except StoreError as error:
            log.error("how an import ended could not be recorded", base=base, number=number, problem=str(error))
