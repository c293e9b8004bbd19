"""One import as a process of its own: `python -m service.importing STORE BASE NUMBER`, with the settings in the environment."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

from service.importing.settings import LARGEST, ImportSettings, bucket_of
from service.importing.work import run_import, workshop
from service.logs import set_up_logging
from store.object_store import StoreError
from store.open import open_store

log = structlog.get_logger(__name__)

_NOT_RECORDED = 1


def settings_of(environment: Mapping[str, str]) -> ImportSettings:
    """Raises SourceError and ValueError for what is no setting."""
    return ImportSettings(
        buckets=tuple(map(bucket_of, environment.get("LORAMILL_IMPORT_BUCKETS", "").split())),
        hub_endpoint=environment.get("LORAMILL_IMPORT_HUB_ENDPOINT") or None,
        hub_token=environment.get("HF_TOKEN", ""),
        largest=int(environment.get("LORAMILL_IMPORT_LARGEST") or LARGEST),
    )


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """0 if how the import ended is recorded, whatever it was."""
    uri, base, number = arguments
    set_up_logging(as_json=not sys.stderr.isatty())
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    folder = Path(environment.get("LORAMILL_IMPORT_FOLDER") or "imports").absolute()
    try:
        run_import(workshop(open_store(uri), folder, settings_of(environment)), base, int(number), stopped)
    except StoreError as error:
        log.error("how the import ended could not be recorded", problem=str(error))
        return _NOT_RECORDED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
