"""What differs between one machine and a cluster. All else is the same service, and is made of these parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry

from service.auth.tls import Listener
from service.compute_classes import ComputeClasses
from service.direct_transfers import DirectTransfers
from service.executors import Executor
from service.importing.launching import ImportLauncher
from service.importing.settings import ImportSettings
from service.interceptors import Identify
from service.retention import Retention
from store.object_store import ObjectStore

Changed = Callable[[str, str], None]
"""Hears, in any thread, that a (tenant, job) should be looked at."""


@dataclass(frozen=True)
class ImportJobs:
    """Imports that are Jobs of their own, so that the service needs no way out of the cluster."""

    launcher: ImportLauncher
    settings: ImportSettings
    """Where they may import from."""


@dataclass(frozen=True)
class Platform:
    """Where a service runs. Its makers open and probe everything, and raise Unusable for what cannot be used."""

    store: ObjectStore
    executor: Executor
    following: Callable[[Changed], AbstractContextManager[None]]
    """While it is entered, the executor tells of launches that have changed."""
    leads: Callable[[], bool]
    """Whether this service may give places to waiting jobs now."""
    classes: ComputeClasses
    """What jobs can run on."""
    tenants: tuple[str, ...]
    """Whose jobs are driven."""
    jobs_at_once: int
    """Jobs of all tenants that may be under way at once."""
    look_again: timedelta
    """Between two looks at a living job of which nothing is heard."""
    identify: Identify
    host: str
    """Address that is served."""
    listeners: Sequence[Listener]
    """The ports of gRPC; callers are told of the first."""
    health_port: int | None
    """Port of the health service without TLS; None for no such port."""
    staging: Path
    """Folder for unfinished uploads and imports."""
    imports: ImportSettings
    """Where the service itself may import base models from, in its own process."""
    import_jobs: ImportJobs | None
    """What carries out imports from elsewhere; None where the service does all of them itself."""
    direct: DirectTransfers | None
    """How callers send and fetch contents straight to and from the store; None where they cannot."""
    retention: Retention
    """How long what is kept is kept."""
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    """What the parts above measure of themselves; the service adds its own."""
