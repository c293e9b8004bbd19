"""Installs the service: the manifests that users install, below an overlay that says what is particular to this cluster.

Callers of the cluster's tests are service accounts of the namespace `callers`; the operator's file says who may what.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import yaml

from deploy.cluster.certificates import certificate_file, key_file
from deploy.cluster.control_plane import kubectl
from deploy.cluster.network import SERVICE_ADDRESS
from deploy.cluster.paths import BUILD, CA, ROOT
from deploy.cluster.storage import REGION, Store

INSTALLATION = BUILD / "install"
PORT = 50051
ADDRESS = f"{SERVICE_ADDRESS}:{PORT}"
AUDIENCE = "loramill"
JOBS_NAMESPACE = "loramill-jobs"
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


def operator_file(trainer_image: str, store: Store) -> dict[str, object]:
    """What the operator of this cluster says."""
    return {
        "store": store.uri,
        "jobs_at_once": 4,
        "trainers": {
            "namespace": JOBS_NAMESPACE,
            "service_account_name": "loramill-trainer",
            "image": trainer_image,
            "s3": {"endpoint_url": store.endpoint, "region": REGION},
        },
        "trainer_credentials": {"kind": "assume-role", "role_arn": store.role_arn, "lifetime": "PT15M"},
        "compute": {"currency": "USD", "classes": [*COMPUTE_CLASSES]},
        "tenants": [*GRANTS],
        "authentication": {"service_accounts": {"audience": AUDIENCE}},
        "tls": {"certificate": "/etc/loramill-tls/tls.crt", "key": "/etc/loramill-tls/tls.key"},
    }


def install(images: Mapping[str, str], store: Store) -> None:
    """Installs, or brings what is installed to this state, and waits until every replica serves.

    `images` are those of the Dockerfile's targets, `service` and `trainer`.

    Raises:
        ClusterError: the cluster does not take it, or replicas do not serve.
    """
    _write_overlay(images["service"], images["trainer"], store)
    kubectl("apply", "--server-side", "--force-conflicts", "-k", str(INSTALLATION))
    kubectl("-n", "loramill", "rollout", "status", "deployment/loramill", "--timeout=120s")


def described(store: Store) -> dict[str, object]:
    """For cluster.json."""
    return {"address": ADDRESS, "ca": str(CA), "store": store.name, "bucket": store.bucket, "callers": CALLERS}


def _write_overlay(service_image: str, trainer_image: str, store: Store) -> None:
    shutil.rmtree(INSTALLATION, ignore_errors=True)
    INSTALLATION.mkdir(parents=True)
    for name, source in {"tls.crt": certificate_file("service"), "tls.key": key_file("service"), "ca.pem": CA}.items():
        shutil.copyfile(source, INSTALLATION / name)
    _write("operator.yaml", operator_file(trainer_image, store))
    _write("callers.yaml", *_callers())
    _write("kustomization.yaml", _kustomization(service_image, store))


def _kustomization(service_image: str, store: Store) -> dict[str, object]:
    base = Path("../../..") / "deploy" / "kubernetes"
    assert (INSTALLATION / base).resolve() == ROOT / "deploy" / "kubernetes"
    name, _, digest = service_image.partition("@")
    repository, _, tag = name.partition(":")
    image = {"name": "loramill-service", "newName": repository} | ({"digest": digest} if digest else {"newTag": tag})
    service_address = [{"op": "add", "path": "/spec/clusterIP", "value": SERVICE_ADDRESS}]
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [str(base), "callers.yaml"],
        "images": [image],
        "patches": [{"target": {"kind": "Service", "name": "loramill"}, "patch": yaml.safe_dump(service_address)}],
        "configMapGenerator": [
            _generated("loramill-operator", behavior="replace", files=["operator.yaml"]),
            _generated("loramill-trust", files=["ca.pem"]),
        ],
        "secretGenerator": [
            _generated("loramill-tls", type="kubernetes.io/tls", files=["tls.crt", "tls.key"]),
            _generated("loramill-storage", literals=[f"{name}={value}" for name, value in store.environment.items()]),
        ],
    }


def _generated(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "namespace": "loramill", **more}


def _callers() -> list[object]:
    names = sorted({*(str(grant["service_account"]).rpartition("/")[2] for grant in GRANTS), STRANGER})
    namespace: object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": CALLERS}}
    accounts = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": CALLERS}}
        for name in names
    ]
    return [namespace, *accounts]


def _write(name: str, *documents: object) -> None:
    (INSTALLATION / name).write_text(yaml.safe_dump_all(documents, sort_keys=False))
