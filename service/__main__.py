"""`python -m service --local`: the composition root. Everything is wired here and nowhere else."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from loramill import v1
from loramill.v1 import (
    adapter_service_pb2,
    adapter_service_pb2_grpc,
    base_model_service_pb2,
    base_model_service_pb2_grpc,
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    training_service_pb2,
    training_service_pb2_grpc,
)
from service.acceptance import Acceptance
from service.adapter_uploads import AdapterUploads
from service.adapters import Adapters
from service.audit import Audit
from service.bases import SHAPES_ID, Bases
from service.caller import LOCAL_TENANT, loopback_caller
from service.datasets import Datasets
from service.errors import InvalidRequest, ResourceExists
from service.executors import Executor
from service.executors.local import LocalExecutor
from service.interceptors import Surround, answered, identified, measured, named
from service.jobs import Jobs
from service.lease import FileLease
from service.logs import set_up_logging
from service.metrics import JobsByState, MetricsPage, ReconcilerCounts, RpcMetrics
from service.ports import check_port, port_in_use
from service.reconciler import Reconciler, ReconcilerSettings
from service.run_logs import RunLogs
from service.servicers.adapter import AdapterServicer
from service.servicers.base_model import BaseModelServicer
from service.servicers.dataset import DatasetServicer
from service.servicers.training import TrainingServicer
from service.settings import Settings, Unusable, read_settings
from service.uploads import Uploads
from service.watch import Watches
from store.object_store import ObjectStore, StoreError
from store.open import open_store
from store.probe import probe

log = structlog.get_logger(__name__)

HOST = "127.0.0.1"
"""Without authentication no other address is served."""

UNUSABLE_EXIT_CODE = 2
_LARGEST_MESSAGE = 4 << 20
_THREADS = 32
_SERVICES = tuple(
    descriptor.services_by_name[name].full_name
    for descriptor, name in (
        (training_service_pb2.DESCRIPTOR, "TrainingService"),
        (dataset_service_pb2.DESCRIPTOR, "DatasetService"),
        (adapter_service_pb2.DESCRIPTOR, "AdapterService"),
        (base_model_service_pb2.DESCRIPTOR, "BaseModelService"),
    )
)


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
    """What the servers are made of."""

    store: ObjectStore
    bases: Bases
    jobs: Jobs
    watches: Watches
    reconciler: Reconciler
    stop: asyncio.Event
    training: TrainingServicer
    dataset: DatasetServicer
    adapter: AdapterServicer
    base_model: BaseModelServicer


@asynccontextmanager
async def serving(settings: Settings, executor: Executor | None = None) -> AsyncIterator[Service]:
    """Serves until it is left: then calls end within the grace time, and trainers go on. Raises Unusable."""
    async with AsyncExitStack() as stack:
        lease = stack.enter_context(_lease(settings.data))
        store = await asyncio.to_thread(_opened, settings.store_uri)
        registry = CollectorRegistry()
        parts = _parts(settings, store, executor or LocalExecutor(settings.data / "executor"), lease, registry)
        await asyncio.to_thread(_import_shapes, parts.bases, settings.builtin_shapes)
        JobsByState(partial(parts.jobs.count_by_state, LOCAL_TENANT), registry)
        metrics_port = stack.enter_context(_metrics_page(registry, settings.metrics_port))
        port = await stack.enter_async_context(_grpc_server(settings, parts, RpcMetrics(registry)))
        reconciling = await stack.enter_async_context(_reconciling(parts.reconciler))
        yield Service(f"{HOST}:{port}", metrics_port, store, reconciling)


def _parts(
    settings: Settings, store: ObjectStore, executor: Executor, lease: FileLease, registry: CollectorRegistry
) -> _Parts:
    staging = _emptied(settings.data / "staging")
    stop = asyncio.Event()
    reconciler = Reconciler(
        store,
        executor,
        ReconcilerSettings(tenants=(LOCAL_TENANT,), jobs=settings.jobs, interval=settings.reconcile_every),
        ReconcilerCounts(registry),
        leads=lease.held,
    )
    audit = Audit(store)
    datasets = Datasets(store, audit)
    bases = Bases(store, audit, settings.import_root, staging)
    jobs = Jobs(store, executor, reconciler.queue_position, audit)

    async def read(tenant: str, job: str) -> v1.TrainingJob:
        return await asyncio.to_thread(jobs.get, tenant, job)

    watches = Watches(read, settings.watch_interval)
    logs = RunLogs(store, executor, jobs, settings.watch_interval, stop)
    adapters = Adapters(store, audit)
    acceptance = Acceptance(store, datasets, bases, adapters, audit)
    return _Parts(
        store=store,
        bases=bases,
        jobs=jobs,
        watches=watches,
        reconciler=reconciler,
        stop=stop,
        training=TrainingServicer(store, acceptance, jobs, watches, logs, reconciler.wake),
        dataset=DatasetServicer(datasets, Uploads(datasets, staging, settings.upload_limit)),
        adapter=AdapterServicer(adapters, AdapterUploads(store, audit, staging, settings.adapter_limit)),
        base_model=BaseModelServicer(bases),
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


def _opened(uri: str) -> ObjectStore:
    try:
        store = open_store(uri)
        probe(store)
    except StoreError as error:
        raise Unusable(f"The object store cannot be used: {error}") from error
    return store


def _emptied(folder: Path) -> Path:
    """The folder for unfinished uploads and imports, without what an earlier service left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _import_shapes(bases: Bases, folder: Path) -> None:
    """A service without it still serves: other base models can be imported."""
    if not folder.is_dir():
        log.warning("the base model that comes with Loramill is not there, so it is not offered", folder=str(folder))
        return
    try:
        model = bases.import_shapes(folder)
    except (InvalidRequest, ResourceExists) as error:
        log.warning("the base model that comes with Loramill was not imported", base=SHAPES_ID, problem=error.message)
        return
    log.info("base model ready", base=model.name, digest=model.digest)


@contextmanager
def _metrics_page(registry: CollectorRegistry, port: int) -> Iterator[int]:
    check_port(HOST, port, "--metrics-port")
    try:
        page = MetricsPage(registry, port)
    except OSError as error:
        raise Unusable(port_in_use(HOST, port, "--metrics-port")) from error
    try:
        yield page.port
    finally:
        page.close()


@asynccontextmanager
async def _grpc_server(settings: Settings, parts: _Parts, metrics: RpcMetrics) -> AsyncIterator[int]:
    """Serves gRPC; the port. When it is left, followers are told, and calls under way have the grace time."""
    check_port(HOST, settings.port, "--port")
    server = grpc.aio.server(
        interceptors=[Surround((named, measured(metrics), answered, identified(loopback_caller)))],
        options=[
            ("grpc.so_reuseport", 0),  # else a second service would share the port in silence
            ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
            ("grpc.max_send_message_length", _LARGEST_MESSAGE),
        ],
    )
    healthy = await _add_servicers(server, parts)
    try:
        port = server.add_insecure_port(f"{HOST}:{settings.port}")
    except RuntimeError as error:
        raise Unusable(port_in_use(HOST, settings.port, "--port")) from error
    await server.start()
    try:
        yield port
    finally:
        parts.stop.set()
        await healthy.enter_graceful_shutdown()
        await parts.watches.stop()
        await server.stop(settings.stop_grace)


async def _add_servicers(server: grpc.aio.Server, parts: _Parts) -> health.aio.HealthServicer:
    training_service_pb2_grpc.add_TrainingServiceServicer_to_server(parts.training, server)
    dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server(parts.dataset, server)
    adapter_service_pb2_grpc.add_AdapterServiceServicer_to_server(parts.adapter, server)
    base_model_service_pb2_grpc.add_BaseModelServiceServicer_to_server(parts.base_model, server)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    for name in _SERVICES:
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return healthy


@asynccontextmanager
async def _reconciling(reconciler: Reconciler) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(reconciler.run(), name="reconciler")
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises Unusable, and what ends the reconciler."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Threads here wait for storage, not for a processor: many more than there are processors are of use.
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="service"))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with serving(settings) as service:
        log.info(
            f"Loramill serves on {service.address}, data in {settings.data.resolve()}",
            metrics=f"http://{HOST}:{service.metrics_port}/metrics",
        )
        waiting = asyncio.create_task(stopped.wait())
        await asyncio.wait({waiting, service.reconciling}, return_when=asyncio.FIRST_COMPLETED)
        if not stopped.is_set():
            waiting.cancel()
            await service.reconciling
        log.info("Loramill stops; running trainers go on")


def main(arguments: Sequence[str]) -> int:
    try:
        settings = read_settings(arguments)
        set_up_logging(
            as_json=settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
        )
        asyncio.run(run(settings))
    except Unusable as error:
        print(error, file=sys.stderr)
        return UNUSABLE_EXIT_CODE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
