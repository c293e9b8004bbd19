"""What every platform opens when the service starts."""

from __future__ import annotations

import shutil
from pathlib import Path

from service.settings import Unusable
from store.object_store import ObjectStore, StoreError
from store.open import open_store
from store.probe import probe
from store.s3_requests import RequestObserver


def opened(uri: str, observer: RequestObserver | None = None) -> ObjectStore:
    """The store, probed; `observer` hears of each of its requests. Raises Unusable."""
    try:
        store = open_store(uri, observer, quick=True)
        probe(store)
    except StoreError as error:
        raise Unusable(f"The object store cannot be used: {error}") from error
    return store


def emptied(folder: Path) -> Path:
    """The folder for unfinished uploads and imports, without what an earlier service left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
