"""Keys, certificates and tokens that tests make for themselves."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, in PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Issues certificates."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        builder = _builder(self._name, self._name, self._key, timedelta(days=2))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def issue(
        self,
        common_name: str = "",
        names: Sequence[x509.GeneralName] = (),
        *,
        ends: timedelta = DAY,
        usage: x509.ObjectIdentifier | None = None,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_named(common_name), self._name, key, ends)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return Pair(builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM), pem_of(key))

    def server(self) -> Pair:
        return self.issue("", [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))])


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)] if name else [])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, ends: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + ends)
    )


def pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Provider:
    """An identity provider: a key, its key set, and the tokens that it signs. What is changed to None is left out."""

    def __init__(self, issuer: str, kid: str = "one") -> None:
        self.issuer = issuer
        self.kid = kid
        self.key = ec.generate_private_key(ec.SECP256R1())

    def key_set(self) -> bytes:
        entry = jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return json.dumps({"keys": [{**entry, "kid": self.kid, "use": "sig", "alg": "ES256"}]}).encode()

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of a good token."""
        now = int(time.time())
        good = {"iss": self.issuer, "aud": "loramill", "sub": "robot", "iat": now, "nbf": now, "exp": now + 600}
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def token(self, headers: Mapping[str, Any] | None = None, **changes: Any) -> str:
        headers = {name: value for name, value in {"kid": self.kid, **(headers or {})}.items() if value is not None}
        return jwt.encode(self.claims(**changes), self.key, "ES256", headers)

    def public_pem(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def unsigned(self, **changes: Any) -> str:
        """`alg: none` (CVE-2015-9235)."""
        return _joined({"alg": "none", "kid": self.kid}, self.claims(**changes), lambda _: b"")

    def confused(self, algorithm: str = "HS256", **changes: Any) -> str:
        """An HMAC whose secret is the public key (CVE-2016-5431)."""
        secret = self.public_pem()
        sign = lambda text: hmac.new(secret, text, hashlib.sha256).digest()  # noqa: E731
        return _joined({"alg": algorithm, "kid": self.kid}, self.claims(**changes), sign)


def _joined(header: Mapping[str, Any], claims: Mapping[str, Any], sign: Any) -> str:
    text = b".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    return (text + b"." + encoded(sign(text))).decode()


def encoded(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def tampered(token: str, **changes: Any) -> str:
    """Other claims under the same signature."""
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return ".".join([header, encoded(json.dumps({**claims, **changes}).encode()).decode(), signature])
