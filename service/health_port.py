"""Health on a port of its own, without TLS and without credentials: the kubelet's probe has neither.

Liveness and readiness ask the same: whether this process serves. Neither depends on the object store or on the API server,
since a restart would mend neither of them. When the service stops, what it is asked for turns NOT_SERVING first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from service.ports import check_port, port_in_use
from service.settings import Unusable

_FLAG = "--health-port"


@asynccontextmanager
async def health_port(healthy: health.aio.HealthServicer, host: str, port: int) -> AsyncIterator[int]:
    """Serves what `healthy` knows until it is left; the port. Raises Unusable."""
    check_port(host, port, _FLAG)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise Unusable(port_in_use(host, port, _FLAG)) from error
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(0)
