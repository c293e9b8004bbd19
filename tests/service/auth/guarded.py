"""A whole service that asks who calls, on loopback with TLS, and a caller of any RPC with any credentials."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from google.protobuf.descriptor import MethodDescriptor

from loramill.v1 import adapter_service_pb2, base_model_service_pb2, dataset_service_pb2, training_service_pb2
from service.auth.authenticator import authenticator
from service.auth.settings import Authentication, Grant, OidcIssuer, OidcSubject, ServiceAccounts, Tls
from service.auth.tls import listeners
from service.composition import Service, serving
from service.kubernetes_errors import Unavailable
from service.platforms.local import local_platform
from service.settings import Settings
from tests.service.api.fakes import FakeExecutor
from tests.service.api.tiny_base import write_base
from tests.service.auth.authority import Authority, Pair, Provider

ISSUER, CLUSTER = "https://idp.example", "https://kubernetes.default.svc"

RPCS: dict[str, MethodDescriptor] = {
    f"/{service.full_name}/{method.name}": method
    for module in (training_service_pb2, dataset_service_pb2, adapter_service_pb2, base_model_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
"""Every RPC that there is, by its full name."""


def grants() -> tuple[Grant, ...]:
    def subject(name: str, tenant: str, role: str) -> Grant:
        return Grant(tenant=tenant, role=role, oidc=OidcSubject(issuer=ISSUER, subject=name))

    return (
        subject("viewer", "team-a", "viewer"),
        subject("robot", "team-a", "editor"),
        subject("operator", "team-a", "operator"),
        subject("other", "team-b", "operator"),
        subject("both", "team-a", "viewer"),
        subject("both", "team-b", "editor"),
        Grant(tenant="team-a", role="viewer", oidc=OidcSubject(issuer=ISSUER, group="researchers")),
        Grant(tenant="team-a", role="operator", service_account="team-a/robot"),
        Grant(tenant="team-a", role="viewer", service_account="lab/*"),
        Grant(tenant="team-a", role="operator", certificate="spiffe://example/robot"),
        Grant(tenant="team-a", role="viewer", certificate="cn:robot"),
    )


class ApiServer:
    """Reviews tokens as a cluster's API server does."""

    def __init__(self) -> None:
        self.provider = Provider(CLUSTER, kid="cluster")
        self.accounts: dict[str, str] = {}
        """User name by token."""
        self.asked: list[str] = []
        self.answers = True

    def token(
        self, account: str = "team-a:robot", audience: str = "loramill", *, known: bool = True, **claims: Any
    ) -> str:
        token = self.provider.token(aud=[audience], sub=f"system:serviceaccount:{account}", **claims)
        if known:
            self.accounts[token] = f"system:serviceaccount:{account}"
        return token

    def review(self, token: str, audiences: Sequence[str]) -> Mapping[str, Any]:
        self.asked.append(token)
        if not self.answers:
            raise Unavailable("POST /tokenreviews", "the API server did not answer")
        if token not in self.accounts:
            return {"user": {}, "error": "[invalid bearer token, service account has been deleted]"}
        return {"authenticated": True, "audiences": list(audiences), "user": {"username": self.accounts[token]}}


@dataclass(frozen=True)
class Guarded:
    """The service, and those who vouch for its callers."""

    service: Service
    executor: FakeExecutor
    api_server: ApiServer
    provider: Provider
    authority: Authority
    client_authority: Authority
    plain: grpc.aio.Channel
    """TLS without a client certificate."""
    client_port: int

    def channel(self, certificate: Pair | None = None, *, port: int | None = None) -> grpc.aio.Channel:
        shown = (None, None) if certificate is None else (certificate.key, certificate.certificate)
        credentials = grpc.ssl_channel_credentials(self.authority.certificate, *shown)
        return grpc.aio.secure_channel(f"127.0.0.1:{port or self.client_port}", credentials)

    def certificate(self, **names: Any) -> Pair:
        names = names or {"names": [x509.UniformResourceIdentifier("spiffe://example/robot")]}
        return self.client_authority.issue(**names)


@asynccontextmanager
async def guarded(folder: Path) -> AsyncIterator[Guarded]:
    provider, api_server, executor = Provider(ISSUER), ApiServer(), FakeExecutor()
    authority, clients = Authority("server"), Authority("clients")
    (folder / "keys.json").write_bytes(provider.key_set())
    tls = _tls(folder, authority.server(), clients)
    authentication = Authentication(
        service_accounts=ServiceAccounts(),
        oidc=(OidcIssuer(issuer=ISSUER, audience="loramill", keys_file=folder / "keys.json"),),
    )
    settings = Settings(
        local=True,
        port=0,
        metrics_port=0,
        data=folder / "data",
        builtin_shapes=write_base(folder / "shapes"),
        watch_interval=0.02,
        reconcile_interval=0.05,
        stop_grace=1.0,
    )
    with local_platform(settings, executor) as local:
        ports = listeners(0, authentication, tls)
        platform = replace(
            local,
            identify=authenticator(authentication, tls, grants(), api_server.review),
            listeners=ports,
            tenants=("team-a", "team-b"),
        )
        async with serving(settings, platform) as service:
            credentials = grpc.ssl_channel_credentials(authority.certificate)
            async with grpc.aio.secure_channel(service.address, credentials) as plain:
                yield Guarded(service, executor, api_server, provider, authority, clients, plain, tls.client_port)


def _tls(folder: Path, pair: Pair, clients: Authority) -> Tls:
    contents = {"tls.crt": pair.certificate, "tls.key": pair.key, "clients.crt": clients.certificate}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return Tls(
        certificate=folder / "tls.crt",
        key=folder / "tls.key",
        client_ca=folder / "clients.crt",
        client_port=free_port(),
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


async def code_of(
    channel: grpc.aio.Channel, rpc: str, metadata: Sequence[tuple[str, str]] = (), request: bytes = b""
) -> tuple[grpc.StatusCode, str]:
    """Code and message of an RPC with one (by default empty) request."""
    method = RPCS[rpc]
    try:
        if method.client_streaming:
            await channel.stream_unary(rpc)(iter([request]), metadata=metadata, timeout=10)
        elif method.server_streaming:
            async for _ in channel.unary_stream(rpc)(request, metadata=metadata, timeout=10):
                pass
        else:
            await channel.unary_unary(rpc)(request, metadata=metadata, timeout=10)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


def bearer(token: str, *more: tuple[str, str]) -> Sequence[tuple[str, str]]:
    return (("authorization", f"Bearer {token}"), *more)


def ago(seconds: int) -> int:
    return int(time.time()) - seconds
