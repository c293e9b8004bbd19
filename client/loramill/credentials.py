"""How a caller proves who it is, and how it knows the service: tokens, certificates, TLS, and the tenant it acts for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Self

import grpc

from loramill.channel import is_loopback
from loramill.errors import CredentialsError

TENANT_METADATA = "x-loramill-tenant"
_TRUE = ("1", "true", "yes")


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """All of it is optional: a service on this machine may ask for nothing. Certificates and keys are PEM files."""

    token: str = field(default="", repr=False)
    token_file: Path | None = None
    """Holds the token; read at each call, since whoever renews it writes it anew."""
    tls: bool = False
    """Connect with TLS; so it does anyway where `ca` or `certificate` is given."""
    ca: Path | None = None
    """The authorities that the service's certificate is trusted by; without it those that gRPC brings."""
    certificate: Path | None = None
    key: Path | None = None
    """Of `certificate`."""
    tenant: str = ""
    """Which of its tenants the caller acts for; needed only by who belongs to several."""
    insecure_token: bool = False
    """A token may go to another machine without TLS, since something in between encrypts."""

    def __post_init__(self) -> None:
        if self.token and self.token_file:
            raise CredentialsError("A token and a file with a token are both given; leave one of them out.")
        if (self.certificate is None) != (self.key is None):
            raise CredentialsError("A certificate and its private key belong together; give both, or neither.")

    @classmethod
    def from_environment(cls, **given: object) -> Self:
        """What is `given` (fields by name; None and empty ones count as not given), else LORAMILL_TOKEN, LORAMILL_TOKEN_FILE,
        LORAMILL_TLS, LORAMILL_CA, LORAMILL_CERT, LORAMILL_KEY, LORAMILL_TENANT and LORAMILL_INSECURE_TOKEN."""
        found = {name: value for name, value in given.items() if value}
        for chosen in (
            ("token", "token_file"),
            ("certificate", "key"),
            ("ca",),
            ("tls",),
            ("tenant",),
            ("insecure_token",),
        ):
            if not any(name in found for name in chosen):
                found |= {name: value for name in chosen if (value := _variable(name))}
        return cls(**found)  # type: ignore[arg-type]

    @property
    def encrypted(self) -> bool:
        return self.tls or self.ca is not None or self.certificate is not None

    def check(self, address: str) -> None:
        """Raises CredentialsError if a token would travel to `address` (host:port) for everybody to read."""
        has_token = bool(self.token or self.token_file)
        if has_token and not (self.encrypted or self.insecure_token or is_loopback(address)):
            raise CredentialsError(
                f"The token would travel to {address} without encryption, and was not sent. Use TLS (--tls, or --ca with the"
                " service's authority); if something in between encrypts, say so with --insecure-token."
            )

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What a call carries. Raises CredentialsError if the token cannot be read."""
        token = self.token or (_read(self.token_file).decode(errors="replace").strip() if self.token_file else "")
        if self.token_file and not token:
            raise CredentialsError(f"{self.token_file} holds no token; name the file that does with --token-file.")
        if not (token.isascii() and token.isprintable()):
            raise CredentialsError(
                "The token has signs that none can have; give it again, without line breaks in between."
            )
        carried = {"authorization": f"Bearer {token}" if token else "", TENANT_METADATA: self.tenant}
        return tuple((key, value) for key, value in carried.items() if value)

    def of_channel(self) -> grpc.ChannelCredentials | None:
        """For gRPC; None for no TLS. Raises CredentialsError if a file cannot be read."""
        if not self.encrypted:
            return None
        parts = [None if path is None else _read(path) for path in (self.ca, self.key, self.certificate)]
        return grpc.ssl_channel_credentials(*parts)


_VARIABLES = {"certificate": "LORAMILL_CERT"}


def _variable(name: str) -> object:
    """The environment's value for a field; empty without one."""
    text = os.environ.get(_VARIABLES.get(name, f"LORAMILL_{name.upper()}"), "")
    kind = next(entry.type for entry in fields(Credentials) if entry.name == name)
    if kind == "bool":
        return text.lower() in _TRUE
    return Path(text) if text and kind == "Path | None" else text


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialsError(
            f"{path} cannot be read: {error.strerror}. Name another file, or mend this one."
        ) from None
