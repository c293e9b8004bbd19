"""The cluster's own authority and every certificate that it gives out, and the key pair of service-account tokens."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.cluster.network import ADDRESSES, API_SERVICE_ADDRESS, MAIN_ADDRESS, SERVICE_ADDRESS
from deploy.cluster.paths import CA, CERTIFICATES, KUBECONFIG

API_SERVER = f"https://{MAIN_ADDRESS}:6443"
_LIFETIME = datetime.timedelta(days=365)
_API_SERVER_NAMES = (
    "localhost",
    *(f"kubernetes{rest}" for rest in ("", ".default", ".default.svc", ".default.svc.cluster.local")),
)


@dataclass(frozen=True)
class Subject:
    """Whom a certificate is for. Kubernetes reads the common name as the user, the organizations as its groups."""

    file: str
    common_name: str
    organizations: Sequence[str] = ()
    names: Sequence[str] = ()
    addresses: Sequence[str] = ()


_SUBJECTS = (
    Subject(
        "apiserver",
        "kube-apiserver",
        names=_API_SERVER_NAMES,
        addresses=(MAIN_ADDRESS, "127.0.0.1", API_SERVICE_ADDRESS),
    ),
    Subject("apiserver-to-kubelet", "kube-apiserver-kubelet-client", organizations=("system:masters",)),
    Subject("admin", "admin", organizations=("system:masters",)),
    Subject("controller-manager", "system:kube-controller-manager"),
    Subject("scheduler", "system:kube-scheduler"),
    Subject("proxy", "system:kube-proxy"),
    *(
        Subject(f"node{n}", f"system:node:node{n}", ("system:nodes",), names=(f"node{n}",), addresses=(address,))
        for n, address in enumerate(ADDRESSES, start=1)
    ),
    Subject("s3", "s3", names=("localhost",), addresses=(MAIN_ADDRESS, "127.0.0.1")),
    Subject("service", "loramill", names=("loramill", "loramill.loramill.svc"), addresses=(SERVICE_ADDRESS,)),
)


def issue() -> None:
    """Writes the authority, the certificates with their keys, and a kubeconfig for each client."""
    CERTIFICATES.mkdir(parents=True, mode=0o700, exist_ok=True)
    authority, authority_key = _authority()
    for subject in _SUBJECTS:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(subject, key.public_key(), authority, authority_key)
        _write(subject.file, key, certificate)
        _write_kubeconfig(subject.file, CERTIFICATES / f"{subject.file}.kubeconfig")
    tokens = ec.generate_private_key(ec.SECP256R1())
    _private_file(CERTIFICATES / "service-accounts.key", _pem(tokens))
    _write_kubeconfig("admin", KUBECONFIG)


def certificate_file(name: str) -> Path:
    return CERTIFICATES / f"{name}.crt"


def key_file(name: str) -> Path:
    return CERTIFICATES / f"{name}.key"


def kubeconfig_file(name: str) -> Path:
    return CERTIFICATES / f"{name}.kubeconfig"


def _authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("loramill-cluster")
    certificate = (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write("ca", key, certificate)
    return certificate, key


def _certificate(
    subject: Subject,
    public_key: ec.EllipticCurvePublicKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    name = _name(subject.common_name, subject.organizations)
    both_sides = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    builder = _builder(name, authority.subject, public_key).add_extension(
        x509.ExtendedKeyUsage(both_sides), critical=False
    )
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = builder.add_extension(issuer, critical=False)
    alternatives = [
        *(x509.DNSName(name) for name in subject.names),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in subject.addresses),
    ]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(authority_key, hashes.SHA256())


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _LIFETIME)
    )


def _name(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization) for organization in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _write(name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    certificate_file(name).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    _private_file(key_file(name), _pem(key))


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """In the traditional encoding, which every program of the cluster reads."""
    traditional = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, traditional, serialization.NoEncryption())


def _write_kubeconfig(name: str, path: Path) -> None:
    def data(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "loramill", "cluster": {"server": API_SERVER, "certificate-authority-data": data(CA)}},
        ],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": data(certificate_file(name)),
                    "client-key-data": data(key_file(name)),
                },
            }
        ],
        "contexts": [{"name": "loramill", "context": {"cluster": "loramill", "user": name}}],
        "current-context": "loramill",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    _private_file(path, json.dumps(content, indent=2).encode())


def _private_file(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
