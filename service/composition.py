"""The composition root: everything is wired here and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from loramill import v1
from service.acceptance import Acceptance
from service.adapter_uploads import AdapterUploads
from service.adapters import Adapters
from service.admission_control import AdmissionControl
from service.audit import Audit
from service.auth.refusals import Refusals
from service.base_imports import BaseImports
from service.bases import SHAPES_ID, Bases
from service.caption_tokens import CaptionTokens
from service.collecting import CollectorCounts, collecting
from service.dataset_imports import DatasetImports
from service.dataset_reports import DatasetReports
from service.datasets import Datasets
from service.direct_uploads import DirectUploads
from service.import_launchers import allowed_imports, import_launcher, import_threads
from service.import_states import ImportStates
from service.import_threads import ImportThreads
from service.importing.problems import ImportFailed
from service.interceptors import answered, identified, measured, named
from service.jobs import Jobs
from service.metrics import RpcMetrics
from service.platforms import Platform
from service.reconciler import Reconciler, ReconcilerSettings
from service.reconciler_counts import ReconcilerCounts
from service.run_logs import RunLogs
from service.servers import Following, Servicers, grpc_server, metrics_page
from service.servicers.adapter import AdapterServicer
from service.servicers.base_model import BaseModelServicer
from service.servicers.dataset import DatasetServicer
from service.servicers.training import TrainingServicer
from service.settings import Settings
from service.uploads import Uploads
from service.watch import Watches
from store.object_store import ObjectStore

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Service:
    """A running service, as its main function and tests see it."""

    address: str
    metrics_port: int
    store: ObjectStore
    reconciling: asyncio.Task[None]
    """Ends only by an error, or when the service stops."""


@dataclass(frozen=True)
class _Parts:
    bases: Bases
    imports: ImportThreads
    jobs: Jobs
    reconciler: Reconciler
    following: Following
    servicers: Servicers
    collecting: AbstractAsyncContextManager[None]


@asynccontextmanager
async def serving(settings: Settings, platform: Platform) -> AsyncIterator[Service]:
    """Serves until it is left: then calls end within the grace time, and trainers go on. Raises Unusable."""
    async with AsyncExitStack() as stack:
        registry = platform.registry
        parts = _parts(settings, platform, registry)
        await asyncio.to_thread(_import_shapes, parts.bases, settings.builtin_shapes)
        metrics_port = stack.enter_context(metrics_page(registry, platform.host, settings.metrics_port))
        port = await stack.enter_async_context(
            grpc_server(
                parts.servicers,
                parts.following,
                (named, measured(RpcMetrics(registry)), answered, identified(platform.identify, Refusals(registry))),
                host=platform.host,
                listeners=platform.listeners,
                health=platform.health_port,
                grace=settings.stop_grace,
            )
        )
        reconciling = await stack.enter_async_context(_reconciling(parts.reconciler, platform))
        await stack.enter_async_context(parts.collecting)
        stack.enter_context(parts.imports.running())
        yield Service(f"{platform.host}:{port}", metrics_port, platform.store, reconciling)


def _parts(settings: Settings, platform: Platform, registry: CollectorRegistry) -> _Parts:
    store, executor = platform.store, platform.executor
    audit = Audit(store)
    control = AdmissionControl(store, platform.classes, audit)
    reconciler = Reconciler(
        store,
        executor,
        ReconcilerSettings(
            tenants=platform.tenants,
            jobs=platform.jobs_at_once,
            interval=settings.reconcile_every,
            look_again=platform.look_again,
        ),
        ReconcilerCounts(registry),
        leads=platform.leads,
        control=control,
    )
    datasets = Datasets(store, audit)
    threads = import_threads(platform, settings.data / "imports")
    launcher = import_launcher(platform, threads)
    bases = Bases(store, ImportStates(store, launcher))
    imports = BaseImports(store, bases, launcher, audit, allowed_imports(platform), mixed=platform.import_jobs is None)
    jobs = Jobs(store, executor, reconciler.queue_position, audit, held_back=control.held_back)
    adapters = Adapters(store, audit)

    async def read(tenant: str, job: str) -> v1.TrainingJob:
        return await asyncio.to_thread(jobs.get, tenant, job)

    following = Following(Watches(read, settings.watch_interval), asyncio.Event())
    logs = RunLogs(store, executor, jobs, settings.watch_interval, following.stop)
    acceptance = Acceptance(store, datasets, bases, adapters, audit, platform.classes)
    servicers = Servicers(
        TrainingServicer(store, acceptance, jobs, following.watches, logs, reconciler.wake, control),
        DatasetServicer(
            datasets,
            Uploads(datasets, platform.staging, settings.upload_limit),
            DatasetImports(datasets, settings.dataset_root, platform.staging, settings.upload_limit),
            DatasetReports(store, datasets),
            DirectUploads(datasets, platform.direct, settings.upload_limit) if platform.direct is not None else None,
        ),
        AdapterServicer(
            adapters, AdapterUploads(store, audit, platform.staging, settings.adapter_limit), platform.direct
        ),
        BaseModelServicer(bases, imports, CaptionTokens(bases)),
    )
    collector = collecting(
        store, jobs, datasets, adapters, platform.retention, CollectorCounts(registry), platform.leads
    )
    return _Parts(bases, threads, jobs, reconciler, following, servicers, collector)


def _import_shapes(bases: Bases, folder: Path) -> None:
    """A service without it still serves: other base models can be imported."""
    if not folder.is_dir():
        log.warning("the base model that comes with Loramill is not there, so it is not offered", folder=str(folder))
        return
    try:
        model = bases.import_shapes(folder)
    except ImportFailed as error:
        log.warning("the base model that comes with Loramill was not imported", base=SHAPES_ID, problem=str(error))
        return
    log.info("base model ready", base=model.name, digest=model.digest)


@asynccontextmanager
async def _reconciling(reconciler: Reconciler, platform: Platform) -> AsyncIterator[asyncio.Task[None]]:
    loop = asyncio.get_running_loop()

    def changed(tenant: str, job: str) -> None:
        loop.call_soon_threadsafe(reconciler.wake, tenant, job)

    with platform.following(changed):
        task = asyncio.create_task(reconciler.run(), name="reconciler")
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
