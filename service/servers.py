"""The servers of a service: gRPC for callers, and the page that Prometheus reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

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
from service.auth.tls import Listener
from service.health_port import health_port
from service.interceptors import Surround, Surrounding
from service.metrics import MetricsPage
from service.ports import check_port, port_in_use
from service.servicers.adapter import AdapterServicer
from service.servicers.base_model import BaseModelServicer
from service.servicers.dataset import DatasetServicer
from service.servicers.training import TrainingServicer
from service.settings import Unusable
from service.watch import Watches

_LARGEST_MESSAGE = 4 << 20
_LARGEST_METADATA = 16 << 10  # room for the largest token, and for what proxies add
_MOST_PENDING = 10_000
"""Calls that have come and are not taken up yet, as one is in each turn of the event loop. What comes beyond this number gRPC
drops, and callers of streams wait in vain; its own number is 1,000, beyond which it drops some at random."""
_PING_EVERY_MS, _PING_ANSWERED_MS = 60_000, 20_000
"""To callers, so that those who went without a word hold nothing for long."""
_PINGED_EVERY_MS = 1_000
"""By callers, at most. gRPC takes more than one in five minutes for an attack, and hangs up on who waits for a quiet job too."""
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
class Servicers:
    """What answers calls."""

    training: TrainingServicer
    dataset: DatasetServicer
    adapter: AdapterServicer
    base_model: BaseModelServicer


@dataclass(frozen=True)
class Following:
    """What long calls hang on, and what ends them when the service stops."""

    watches: Watches
    stop: asyncio.Event


@contextmanager
def metrics_page(registry: CollectorRegistry, host: str, port: int) -> Iterator[int]:
    """Serves `/metrics`; the port. Raises Unusable."""
    check_port(host, port, "--metrics-port")
    try:
        page = MetricsPage(registry, host, port)
    except OSError as error:
        raise Unusable(port_in_use(host, port, "--metrics-port")) from error
    try:
        yield page.port
    finally:
        page.close()


@asynccontextmanager
async def grpc_server(
    servicers: Servicers,
    following: Following,
    surroundings: Sequence[Surrounding],
    *,
    host: str,
    listeners: Sequence[Listener],
    health: int | None,
    grace: float,
) -> AsyncIterator[int]:
    """Serves gRPC; the port of the first listener. When it is left, followers are told, and calls have `grace` seconds.

    `health` is the port of health alone, None for none. Raises Unusable.
    """
    server = grpc.aio.server(
        interceptors=[Surround(surroundings)],
        options=[
            ("grpc.so_reuseport", 0),  # else a second service would share the port in silence
            ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
            ("grpc.max_send_message_length", _LARGEST_MESSAGE),
            ("grpc.max_metadata_size", _LARGEST_METADATA),
            ("grpc.absolute_max_metadata_size", 2 * _LARGEST_METADATA),
            ("grpc.keepalive_time_ms", _PING_EVERY_MS),
            ("grpc.keepalive_timeout_ms", _PING_ANSWERED_MS),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", _PINGED_EVERY_MS),
            ("grpc.server.max_pending_requests", _MOST_PENDING),
            ("grpc.server.max_pending_requests_hard_limit", _MOST_PENDING),
        ],
    )
    healthy = await _add_servicers(server, servicers)
    bound = [_listen(server, host, listener) for listener in listeners]
    async with AsyncExitStack() as stack:
        if health is not None:
            await stack.enter_async_context(health_port(healthy, host, health))
        await server.start()
        try:
            yield bound[0]
        finally:
            following.stop.set()
            await healthy.enter_graceful_shutdown()
            await following.watches.stop()
            await server.stop(grace)


def _listen(server: grpc.aio.Server, host: str, listener: Listener) -> int:
    check_port(host, listener.port, "--port")
    address = f"{host}:{listener.port}"
    try:
        if listener.credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, listener.credentials)
    except RuntimeError as error:
        raise Unusable(port_in_use(host, listener.port, "--port")) from error


async def _add_servicers(server: grpc.aio.Server, servicers: Servicers) -> health.aio.HealthServicer:
    training_service_pb2_grpc.add_TrainingServiceServicer_to_server(servicers.training, server)
    dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server(servicers.dataset, server)
    adapter_service_pb2_grpc.add_AdapterServiceServicer_to_server(servicers.adapter, server)
    base_model_service_pb2_grpc.add_BaseModelServiceServicer_to_server(servicers.base_model, server)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    for name in _SERVICES:
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return healthy
