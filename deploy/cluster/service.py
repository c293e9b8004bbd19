"""Installs the service: the chart that users install, with values that say what is particular to this cluster.

Callers of the cluster's tests are service accounts of the namespace `callers`; the operator's file says who may what.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Mapping

import yaml

from deploy.cluster.certificates import certificate_file, key_file
from deploy.cluster.commands import run
from deploy.cluster.control_plane import kubectl
from deploy.cluster.network import INSIDE, SERVICE_ADDRESS
from deploy.cluster.paths import BUILD, CA, ROOT
from deploy.cluster.storage import REGION, Store

VALUES = BUILD / "values.yaml"
NAMESPACE = "loramill"
PORT = 50051
ADDRESS = f"{SERVICE_ADDRESS}:{PORT}"
AUDIENCE = "loramill"
JOBS_NAMESPACE = "loramill-jobs"
RESTRICTED = {"enforce": "restricted", "enforce-version": "latest"}
"""The Pod Security level."""

CALLERS = "callers"
"""Namespace of the service accounts that call."""

GRANTS = (
    {"tenant": "tenant-a", "role": "editor", "service_account": f"{CALLERS}/tenant-a"},
    {"tenant": "tenant-a", "role": "viewer", "service_account": f"{CALLERS}/tenant-a-viewer"},
    {"tenant": "tenant-a", "role": "operator", "service_account": f"{CALLERS}/operator"},
    # A name that another tenant's begins with: what is confused by that shows here.
    {"tenant": "tenant-ab", "role": "editor", "service_account": f"{CALLERS}/tenant-ab"},
)
STRANGER = "stranger"
"""A caller whom no grant names."""

COMPUTE_CLASSES = (
    {
        "name": "gpu",
        "description": "one GPU of a node that stays",
        "gpus": 1,
        "gpu_memory_gib": 24,
        "cpu": "800m",
        "memory": "3Gi",
        "ephemeral_storage": "2Gi",
        "node_selector": {"loramill.dev/capacity": "on-demand"},
        "price_per_hour": 1.2,
    },
    {
        "name": "gpu-spot",
        "description": "one GPU of a node that may be taken away",
        "gpus": 1,
        "gpu_memory_gib": 24,
        "cpu": "800m",
        "memory": "3Gi",
        "ephemeral_storage": "2Gi",
        "spot": True,
        "price_per_hour": 0.4,
    },
    {
        "name": "gpu-none",
        "description": "more GPUs than any node of this cluster has",
        "gpus": 8,
        "gpu_memory_gib": 80,
        "cpu": "1",
        "memory": "4Gi",
        "ephemeral_storage": "2Gi",
        "price_per_hour": 30.0,
    },
    {
        "name": "small",
        "description": "memory that does not suffice for training",
        "gpus": 0,
        "cpu": "800m",
        "memory": "200Mi",
        "ephemeral_storage": "2Gi",
        "price_per_hour": 50.0,
    },
)


def values(images: Mapping[str, str], store: Store) -> dict[str, object]:
    """What the chart is told; `images` are those of the Dockerfile's targets, `service` and `trainer`, by digest."""
    return {
        "image": _image(images["service"]),
        "operator": {
            "store": store.uri,
            "jobs_at_once": 4,
            "trainers": {"s3": {"endpoint_url": store.endpoint, "region": REGION}},
            "trainer_credentials": {"kind": "assume-role", "role_arn": store.role_arn, "lifetime": "PT15M"},
            "compute": {"currency": "USD", "classes": [*COMPUTE_CLASSES]},
            "tenants": [*GRANTS],
            "authentication": {"service_accounts": {"audience": AUDIENCE}},
        },
        "trainers": {"namespace": {"name": JOBS_NAMESPACE}, "image": _image(images["trainer"])},
        "storage": {"existingSecret": "storage"},
        "tls": {"existingSecret": "certificate"},
        "service": {"clusterIp": SERVICE_ADDRESS},
        "test": {"enabled": False},
    }


def install(images: Mapping[str, str], store: Store) -> None:
    """Installs, or brings what is installed to this state, and waits until every replica serves.

    Raises:
        ClusterError: the cluster does not take it, or replicas do not serve.
    """
    kubectl("apply", "--server-side", "-f", "-", text=yaml.safe_dump_all([*_prepared(store), *_callers()]))
    VALUES.parent.mkdir(parents=True, exist_ok=True)
    VALUES.write_text(yaml.safe_dump(values(images, store), sort_keys=False))
    run([*INSIDE, sys.executable, "-m", "deploy.cluster.release", NAMESPACE, str(VALUES)], folder=ROOT)


def described(store: Store) -> dict[str, object]:
    """For cluster.json."""
    return {"address": ADDRESS, "ca": str(CA), "store": store.name, "bucket": store.bucket, "callers": CALLERS}


def _image(reference: str) -> dict[str, object]:
    repository, _, digest = reference.partition("@")
    return {"repository": repository.partition(":")[0], "digest": digest}


def _prepared(store: Store) -> list[object]:
    """What is there before a release is: its namespace, the server's certificate, the keys of the store."""
    secrets = {
        "certificate": {
            "tls.crt": certificate_file("service").read_bytes(),
            "tls.key": key_file("service").read_bytes(),
        },
        "storage": {name: value.encode() for name, value in store.environment.items()},
    }
    restricted = {f"pod-security.kubernetes.io/{key}": value for key, value in RESTRICTED.items()}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": restricted}}
    return [namespace, *(_secret(name, files) for name, files in secrets.items())]


def _secret(name: str, files: Mapping[str, bytes]) -> object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "type": "kubernetes.io/tls" if "tls.key" in files else "Opaque",
        "data": {key: base64.b64encode(content).decode() for key, content in files.items()},
    }


def _callers() -> list[object]:
    names = sorted({*(str(grant["service_account"]).rpartition("/")[2] for grant in GRANTS), STRANGER})
    namespace: object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": CALLERS}}
    accounts = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": CALLERS}}
        for name in names
    ]
    return [namespace, *accounts]
