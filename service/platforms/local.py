"""One machine: a folder as the store, subprocesses as trainers, callers on loopback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from service.auth.loopback import identify_loopback
from service.auth.tls import Listener
from service.caller import LOCAL_TENANT
from service.compute_classes import LOCAL_MODE
from service.executors import Executor
from service.executors.local import LocalExecutor
from service.importing.settings import ImportSettings, bucket_of
from service.importing.sources import SourceError
from service.lease import FileLease
from service.platforms import Platform
from service.platforms.opening import emptied, opened
from service.retention import Retention
from service.settings import Settings, Unusable

HOST = "127.0.0.1"
"""Without authentication no other address is served."""


@contextmanager
def local_platform(settings: Settings, executor: Executor | None = None) -> Iterator[Platform]:
    """Holds the data folder until it is left. Raises Unusable."""
    with _lease(settings.data) as lease:
        yield Platform(
            store=opened((settings.data.resolve() / "store").as_uri() + "/"),
            executor=executor or LocalExecutor(settings.data / "executor"),
            following=lambda _changed: nullcontext(),  # what nobody tells of, the next look finds
            leads=lease.held,
            classes=LOCAL_MODE,
            tenants=(LOCAL_TENANT,),
            jobs_at_once=settings.jobs,
            look_again=settings.reconcile_every,
            identify=identify_loopback,
            host=HOST,
            listeners=(Listener(settings.port),),
            health_port=None,
            staging=emptied(settings.data / "staging"),
            imports=_imports(settings),
            import_jobs=None,
            direct=None,
            retention=Retention(enabled=False),  # a folder of one's own is one's own to tidy
        )


def _imports(settings: Settings) -> ImportSettings:
    """Raises Unusable."""
    try:
        buckets = tuple(map(bucket_of, settings.import_bucket))
        file = settings.hub_token_file
        token = file.read_text().strip() if file is not None else os.environ.get("HF_TOKEN", "")
    except (SourceError, OSError, UnicodeDecodeError) as error:
        raise Unusable(f"Base models cannot be imported as the settings say: {error}.") from error
    return ImportSettings(
        folders=settings.import_root,
        buckets=buckets,
        hub_endpoint=settings.hub_endpoint or None,
        hub_token=token,
        largest=settings.import_limit,
    )


@contextmanager
def _lease(data: Path) -> Iterator[FileLease]:
    """Holds the data folder for this service alone. Raises Unusable if another one has it."""
    lease = FileLease(data / "service.lock")
    try:
        held = lease.held()
    except OSError as error:
        raise Unusable(f"The data folder {data} cannot be used: {error}; choose another with --data.") from error
    if not held:
        raise Unusable(
            f"Another service works on the data folder {data.resolve()}; stop it, or choose another with --data."
        )
    try:
        yield lease
    finally:
        lease.release()
