"""The server's certificates, read again when their files change, so that whoever renews them need not restart it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from service.auth.settings import Authentication, Tls
from service.settings import Unusable

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Listener:
    """A port that is served, and how."""

    port: int
    credentials: grpc.ServerCredentials | None = None
    """None for no TLS."""


def listeners(port: int, authentication: Authentication, tls: Tls | None) -> tuple[Listener, ...]:
    """What to listen on; the first is `port`. Raises Unusable for certificates that cannot be used.

    gRPC for Python asks a client for its certificate always or never. So where both tokens and certificates are taken,
    certificates have a port of their own.
    """
    if tls is None:
        return (Listener(port),)
    if tls.client_ca is None:
        return (Listener(port, server_credentials(tls)),)
    with_certificate = server_credentials(tls, client_certificates=True)
    if not authentication.takes_tokens:
        return (Listener(port, with_certificate),)
    return Listener(port, server_credentials(tls)), Listener(tls.client_port, with_certificate)


def server_credentials(tls: Tls, *, client_certificates: bool = False) -> grpc.ServerCredentials:
    """With `client_certificates` a connection needs one of an authority in `client_ca`. Raises Unusable."""
    files = _Files(tls, client_certificates)
    try:
        first = files.read()
    except (OSError, ValueError) as error:
        raise Unusable(f"The certificates of `tls` cannot be used: {error}; put the files right.") from error
    return grpc.dynamic_ssl_server_credentials(
        first,
        files.renewed,  # type: ignore[arg-type]  # the stubs do not know that None stands for no change
        require_client_authentication=client_certificates,
    )


class _Files:
    """Certificates from files. gRPC asks before each new connection."""

    def __init__(self, tls: Tls, client_certificates: bool) -> None:
        self._tls = tls
        self._authorities = tls.client_ca if client_certificates else None
        self._paths = [path for path in (tls.certificate, tls.key, self._authorities) if path is not None]
        self._seen: Sequence[object] = ()
        self._lock = threading.Lock()

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Raises OSError, and ValueError where certificate and key are none, or not of one another."""
        self._seen = _state(self._paths)
        chain, key = self._tls.certificate.read_bytes(), self._tls.key.read_bytes()
        _check_pair(chain, key)
        authorities = None if self._authorities is None else self._authorities.read_bytes()
        if authorities is not None:
            x509.load_pem_x509_certificates(authorities)
        return grpc.ssl_server_certificate_configuration([(key, chain)], authorities)

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """None while nothing has changed, or where what has is not yet whole."""
        with self._lock:
            try:
                if _state(self._paths) == self._seen:
                    return None
                renewed = self.read()
            except (OSError, ValueError) as error:
                log.warning("renewed certificates cannot be used; the ones before stay", problem=str(error))
                return None
        log.info("certificates renewed", certificate=str(self._tls.certificate))
        return renewed


def _state(paths: Sequence[Path]) -> Sequence[object]:
    """What changes when a file is written or replaced, also behind a symbolic link as in a Secret's volume."""
    found = [path.stat() for path in paths]
    return [(status.st_ino, status.st_mtime_ns, status.st_size) for status in found]


def _check_pair(chain: bytes, key: bytes) -> None:
    certificate = x509.load_pem_x509_certificates(chain)[0]
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    try:
        public = load_pem_private_key(key, password=None).public_key().public_bytes(*form)
    except TypeError as error:  # locked by a passphrase
        raise ValueError(f"the private key cannot be read: {error}") from error
    if public != certificate.public_key().public_bytes(*form):
        raise ValueError("the private key is not that of the certificate")
