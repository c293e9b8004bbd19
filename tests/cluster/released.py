"""A release of the chart on the cluster: its own namespaces, its own prefix of the bucket, removed when it is left."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import helm_python as helm
from cryptography import x509

from loramill.client import Client
from loramill.credentials import Credentials
from store.s3 import S3Store
from tests.chart.rendering import CHART, Object
from tests.cluster.api_server import RESTRICTED, api_server
from tests.cluster.installed import Installed
from tests.cluster.s3_servers import client_of
from tests.service.auth.authority import Authority

RELEASE = "chart"
ADDRESS = "10.96.50.77"
"""Of its Service; no other may have it meanwhile."""
TARGET = f"{ADDRESS}:50051"
CALLER = "caller"


@dataclass(frozen=True)
class Released:
    """A chart's release, and how it is reached."""

    installed: Installed
    helm: helm.Config
    namespace: str
    jobs_namespace: str
    values: Object
    ca: Path

    def token(self) -> str:
        """Of the one who calls."""
        asked = ("create", "token", CALLER, "--audience", "loramill", "--duration", "3600s")
        return self.installed.kubectl("-n", self.namespace, *asked).strip()

    def client(self) -> Client:
        return Client(TARGET, credentials=Credentials(token=self.token(), ca=self.ca))

    def upgrade(self, chart: Path, values: Object) -> None:
        """Returns when every replica is of the new revision."""
        self.helm.upgrade(chart, RELEASE, values, wait="watcher", timeout=240)

    def rollback(self) -> None:
        """To the revision before; likewise."""
        self.helm.rollback(RELEASE, wait="watcher", timeout=240)

    def objects(self, kind: str, job: str = "") -> list[Object]:
        return self.installed.objects(kind, job, self.jobs_namespace)


def values_for(installed: Installed, namespace: str) -> Object:
    """The least that serves on this cluster: its images, its store, its classes."""
    file = installed.operator_file
    repository, _, digest = installed.service_image.partition("@")
    trainer, _, trainer_digest = file["trainers"]["image"].partition("@")
    name, _, tag = repository.partition(":")
    return {
        "image": {"repository": name, "digest": digest} if digest else {"repository": name, "tag": tag},
        "replicas": 2,
        "operator": {
            "store": f"s3://{installed.description['service']['bucket']}/{namespace}/",
            "jobs_at_once": 4,
            "trainers": {"s3": file["trainers"]["s3"]},
            "trainer_credentials": file["trainer_credentials"],
            "compute": file["compute"],
            "authentication": {"service_accounts": {}},
            "tenants": [{"tenant": "tenant-a", "role": "editor", "service_account": f"{namespace}/{CALLER}"}],
        },
        "trainers": {
            "namespace": {"name": f"{namespace}-jobs"},
            "image": {"repository": trainer, "digest": trainer_digest},
        },
        "storage": {"existingSecret": "storage"},
        "tls": {"existingSecret": "certificate"},
        "service": {"clusterIp": ADDRESS},
        "settings": {"drainSeconds": 1, "stopGraceSeconds": 5},
        "test": {"computeClass": "gpu", "steps": 4},
    }


@contextmanager
def released(installed: Installed, folder: Path, chart: Path = CHART, **changes: Any) -> Iterator[Released]:
    """Installed and serving; `changes` are values in the place of those of `values_for`."""
    with api_server().namespace(RESTRICTED) as namespace:
        values = values_for(installed, namespace) | changes
        authority = Authority("chart")
        (folder / "ca.crt").write_bytes(authority.certificate)
        _prepare(installed, namespace, authority)
        with helm.Config(kubeconfig_path=installed.description["kubeconfig"], namespace=namespace) as configured:
            found = Released(installed, configured, namespace, f"{namespace}-jobs", values, folder / "ca.crt")
            try:
                configured.install(chart, RELEASE, values, wait="watcher", timeout=240)
                yield found
            finally:
                configured.uninstall(RELEASE, wait="watcher", timeout=240, ignore_not_found=True)
                store = S3Store(
                    installed.description["service"]["bucket"], f"{namespace}/", client=client_of(installed.s3)
                )
                for entry in list(store.list()):
                    store.delete(entry.key)


def _prepare(installed: Installed, namespace: str, authority: Authority) -> None:
    """What exists before a release does: Secrets, and the account that calls."""
    pair = authority.issue(
        "", [x509.DNSName(f"{RELEASE}-loramill.{namespace}.svc"), x509.IPAddress(IPv4Address(ADDRESS))]
    )
    secrets = {
        "certificate": {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.certificate},
        "client-authorities": {"ca.crt": authority.certificate},
        "storage": {name: value.encode() for name, value in installed.s3.environment.items()},
    }
    objects: list[Object] = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "type": "kubernetes.io/tls" if "tls.key" in files else "Opaque",
            "data": {key: base64.b64encode(content).decode() for key, content in files.items()},
        }
        for name, files in secrets.items()
    ]
    objects.append({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": CALLER, "namespace": namespace}})
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    installed.kubectl("apply", "-f", "-", text=text)


@contextmanager
def custom_resources(installed: Installed, kinds: dict[str, tuple[str, str]]) -> Iterator[None]:
    """Kinds of operators that this cluster lacks, taken in any form: `plural` by (group/version, kind)."""
    made = []
    for plural, (group_version, kind) in kinds.items():
        group, _, version = group_version.partition("/")
        schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        made.append(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"{plural}.{group}"},
                "spec": {
                    "group": group,
                    "scope": "Namespaced",
                    "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
                    "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
                },
            }
        )
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})
    installed.kubectl("apply", "-f", "-", text=text)
    try:
        for each in made:
            name = each["metadata"]["name"]  # type: ignore[index]
            installed.kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=60s")
        yield
    finally:
        installed.kubectl("delete", "--ignore-not-found", "-f", "-", text=text)
