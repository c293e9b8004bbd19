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
from service.captioned_datasets import CaptionedDatasets
from service.collecting import CollectorCounts, collecting
from service.dataset_imports import DatasetImports
from service.dataset_reports import DatasetReports
from service.datasets import Datasets
from service.direct_uploads import DirectUploads
from service.glances import Glances
from service.import_launchers import allowed_imports, import_launcher, import_threads
from service.import_states import ImportStates
from service.import_threads import ImportThreads
from service.importing.problems import ImportFailed
from service.interceptors import answered, identified, measured, named, traced
from service.job_results import JobResults
from service.jobs import Jobs
from service.keys import is_written_once
from service.metrics import RpcMetrics
from service.operations import Operations
from service.platforms import Platform
from service.reconciler import Reconciler, ReconcilerSettings
from service.reconciler_counts import ReconcilerCounts
from service.remembering import RememberingStore
from service.run_logs import RunLogs
from service.servers import Following, Servicers, grpc_server, metrics_page
from service.servicers.adapter import AdapterServicer
from service.servicers.base_model import BaseModelServicer
from service.servicers.dataset import DatasetServicer
from service.servicers.training import TrainingServicer
from service.settings import Settings
from service.streaming import Staging
from service.submission import Submission
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
    control: AdmissionControl
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
        if settings.restored:
            await asyncio.to_thread(parts.control.pause_once_for, settings.restored)
        metrics_port = stack.enter_context(metrics_page(registry, platform.host, settings.metrics_port))
        port = await stack.enter_async_context(
            grpc_server(
                parts.servicers,
                parts.following,
                (
                    named,
                    traced,
                    measured(RpcMetrics(registry)),
                    answered,
                    identified(platform.identify, Refusals(registry)),
                ),
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
    store, executor = RememberingStore(platform.store, is_written_once), platform.executor
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
        ReconcilerCounts(registry, platform.classes.names),
        leads=platform.leads,
        control=control,
    )
    datasets = Datasets(store, audit)
    threads = import_threads(platform, settings.data / "imports")
    launcher = import_launcher(platform, threads)
    bases = Bases(store, ImportStates(store, launcher))
    imports = BaseImports(store, bases, launcher, audit, allowed_imports(platform), mixed=platform.import_jobs is None)
    jobs = Jobs(store, executor, reconciler.queue_position, audit, held_back=control.held_back_job)
    adapters = Adapters(store, audit)

    glances = Glances(jobs)

    async def read(tenant: str, job: str) -> v1.TrainingJob:
        return await asyncio.to_thread(glances.read, tenant, job)

    following = Following(Watches(read, settings.watch_interval), asyncio.Event())

    def changed(tenant: str, job: str) -> None:
        glances.look_now(tenant, job)
        following.watches.look_now(tenant, job)

    def wake(tenant: str, job: str) -> None:
        reconciler.wake(tenant, job)
        changed(tenant, job)

    reconciler.on_change(changed)
    logs = RunLogs(store, executor, jobs, settings.watch_interval, following.stop)
    acceptance = Acceptance(store, datasets, bases, adapters, audit, platform.classes)
    submission, results = Submission(acceptance, jobs, wake, reconciler.welcome), JobResults(store, jobs)
    operations = Operations(store, executor, jobs, audit, reconciler.waits_its_turn, control.held_back_job)
    staging = Staging(platform.staging)
    servicers = Servicers(
        TrainingServicer(store, submission, jobs, results, following.watches, logs, wake, control, operations),
        DatasetServicer(
            datasets,
            Uploads(datasets, staging, settings.upload_limit),
            DatasetImports(datasets, settings.dataset_root, platform.staging, settings.upload_limit),
            CaptionedDatasets(store, datasets, results, platform.staging),
            DatasetReports(store, datasets),
            submission,
            DirectUploads(datasets, platform.direct, settings.upload_limit) if platform.direct is not None else None,
        ),
        AdapterServicer(adapters, AdapterUploads(store, audit, staging, settings.adapter_limit), platform.direct),
        BaseModelServicer(bases, imports, CaptionTokens(bases)),
    )
    # The collector removes what others only read: it looks at the store itself.
    collector = collecting(
        platform.store, jobs, datasets, adapters, platform.retention, CollectorCounts(registry), platform.leads
    )
    return _Parts(bases, threads, jobs, reconciler, control, following, servicers, collector)


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
