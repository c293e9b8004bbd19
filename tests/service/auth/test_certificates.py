"""Certificates: whom a client's names, and that the server's may be renewed while it serves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from service.auth.authenticator import Authenticator, authenticator
from service.auth.mtls import certificate_identity
from service.auth.settings import Authentication, Grant, ServiceAccounts, Tls
from service.auth.tls import listeners, server_credentials
from service.errors import NotIdentified
from service.interceptors import Call
from service.settings import Unusable
from tests.service.auth.authority import Authority, Pair

AUTHORITY = Authority("clients")
URI, DNS = x509.UniformResourceIdentifier, x509.DNSName


@pytest.mark.parametrize(
    ("common_name", "names", "subject"),
    [
        ("robot", [URI("spiffe://example/ns/team/sa/robot"), DNS("robot.team")], "spiffe://example/ns/team/sa/robot"),
        ("robot", [DNS("robot.team"), DNS("robot.team.svc")], "dns:robot.team"),
        ("robot", [], "cn:robot"),
        ("spiffe://example/robot", [], "cn:spiffe://example/robot"),
        ("", [], None),
        ("robot", [URI("https://example")], None),
        ("robot", [URI("spiffe://example/a"), URI("spiffe://example/b")], None),
        ("robot\n", [], None),
    ],
)
def test_whom_a_certificate_names(common_name: str, names: Sequence[x509.GeneralName], subject: str | None) -> None:
    pem = AUTHORITY.issue(common_name, names).certificate
    if subject is None:
        with pytest.raises(NotIdentified):
            certificate_identity(pem)
    else:
        assert certificate_identity(pem).subject == subject


def test_an_identity_ends_with_its_certificate() -> None:
    pem = AUTHORITY.issue("robot", ends=timedelta(hours=1)).certificate
    end = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    assert certificate_identity(pem).expires == end.timestamp()


class _Shown:
    """What the authenticator sees of a call over a connection that a certificate has opened."""

    def __init__(self, pem: bytes) -> None:
        self._pem = pem

    def invocation_metadata(self) -> tuple:
        return ()

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_pem_cert": [self._pem]}


async def test_a_connection_that_outlives_its_certificate_is_refused(tmp_path: Path) -> None:
    tls = Tls(certificate=tmp_path, key=tmp_path, client_ca=tmp_path)
    grant = Grant(tenant="team", role="viewer", certificate="cn:robot")
    identify = authenticator(Authentication(), tls, [grant], None)
    assert isinstance(identify, Authenticator)
    pem = AUTHORITY.issue("robot", ends=timedelta(hours=1)).certificate
    call = Call("/loramill.v1.TrainingService/ListTrainingJobs", "id", None, _Shown(pem))  # type: ignore[arg-type]
    assert await identify(call)
    later = replace(identify, clock=lambda: time.time() + 3601)
    with pytest.raises(NotIdentified, match="expired"):
        await later(call)


def write(folder: Path, pair: Pair) -> Tls:
    """As a Secret's volume is written: a new folder, then a link that points to it."""
    version = folder / f"version{len(list(folder.iterdir()))}"
    version.mkdir(parents=True)
    (version / "tls.crt").write_bytes(pair.certificate)
    (version / "tls.key").write_bytes(pair.key)
    link = folder / "new"
    link.symlink_to(version)
    link.replace(folder / "data")
    return Tls(certificate=folder / "data/tls.crt", key=folder / "data/tls.key")


async def is_trusted(port: int, authority: Authority) -> bool:
    """Whether a new connection finds a certificate of that authority."""
    credentials = grpc.ssl_channel_credentials(authority.certificate)
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        state = channel.get_state(try_to_connect=True)
        while state in (grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING):
            await asyncio.wait_for(channel.wait_for_state_change(state), 10)
            state = channel.get_state()
        return state is grpc.ChannelConnectivity.READY


async def test_renewed_certificates_are_served_without_a_restart_and_broken_ones_are_not(tmp_path: Path) -> None:
    first, second = Authority("first"), Authority("second")
    tls = write(tmp_path, first.server())
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", server_credentials(tls))
    await server.start()
    try:
        assert await is_trusted(port, first)
        write(tmp_path, Pair(second.server().certificate, second.server().key))  # of two different pairs
        assert await is_trusted(port, first)
        write(tmp_path, Pair(b"", b""))
        assert await is_trusted(port, first)
        write(tmp_path, second.server())
        assert await is_trusted(port, second)
        assert not await is_trusted(port, first)
    finally:
        await server.stop(0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda tls: tls.certificate.unlink(),
        lambda tls: tls.key.write_bytes(b"no key"),
        lambda tls: tls.certificate.write_bytes(b"no certificate"),
        lambda tls: tls.key.write_bytes(AUTHORITY.issue("another").key),
    ],
)
def test_certificates_that_cannot_be_used_are_said_at_the_start(tmp_path: Path, spoil) -> None:
    tls = write(tmp_path, AUTHORITY.server())
    spoil(tls)
    with pytest.raises(Unusable, match="tls"):
        server_credentials(tls)


def test_certificates_have_a_port_of_their_own_only_beside_tokens(tmp_path: Path) -> None:
    tls = write(tmp_path, AUTHORITY.server())
    (tmp_path / "ca.crt").write_bytes(AUTHORITY.certificate)
    both = tls.model_copy(update={"client_ca": tmp_path / "ca.crt", "client_port": 7})
    tokens = Authentication(service_accounts=ServiceAccounts())
    assert [listener.port for listener in listeners(5, tokens, both)] == [5, 7]
    assert [listener.port for listener in listeners(5, Authentication(), both)] == [5]
    assert [listener.port for listener in listeners(5, tokens, tls)] == [5]
    plain = listeners(5, tokens, None)
    assert [(listener.port, listener.credentials) for listener in plain] == [(5, None)]
