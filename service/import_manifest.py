"""An import → its Kubernetes Job, as a plain dict. Pure, and as closed as a trainer's: no user's text gets in.

One pod and no second try; it runs restricted, with the hub's token and the store's credentials by reference to Secrets.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.kubernetes_names import IMPORT_LABEL, IMPORTED_BASE_LABEL, IMPORTER, MANAGED_BY_LABEL, NAME_LABEL
from service.pod_manifest import CA_FILE, CA_FOLDER, given, verbatim

if TYPE_CHECKING:
    from service.import_job_settings import ImportJobSettings
    from service.manifests import Manifest
    from service.pod_settings import PodSettings

FOLDER = "/var/lib/loramill/imports"
_COMMAND = ["python", "-m", "service.importing"]


@dataclass(frozen=True)
class ImportId:
    """What names an import everywhere."""

    base: str
    number: int

    @property
    def name(self) -> str:
        """Of its Job. Ids of base models may be too long, and end in what names may not: their digest stands for them."""
        return f"loramill-import-{self._digest}-{self.number}"

    @property
    def labels(self) -> dict[str, str]:
        return {
            NAME_LABEL: "loramill-importer",
            MANAGED_BY_LABEL: "loramill",
            IMPORTED_BASE_LABEL: self._digest,
            IMPORT_LABEL: str(self.number),
        }

    @property
    def _digest(self) -> str:
        return hashlib.sha256(self.base.encode()).hexdigest()[:16]


def render_import_job(found: ImportId, store_uri: str, settings: ImportJobSettings, pod: PodSettings) -> Manifest:
    """The Job of an import (batch/v1), for a namespace that enforces the restricted Pod Security level."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": found.name, "namespace": pod.namespace, "labels": found.labels},
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": int(settings.deadline.total_seconds()),
            "ttlSecondsAfterFinished": int(settings.finished_job_retention.total_seconds()),
            "template": {
                "metadata": {"labels": found.labels},
                "spec": _pod(found, store_uri, settings, pod),
            },
        },
    }


def _pod(found: ImportId, store_uri: str, settings: ImportJobSettings, pod: PodSettings) -> dict[str, Any]:
    bundle = pod.s3.ca_bundle
    mounts = [{"name": "work", "mountPath": FOLDER}, {"name": "tmp", "mountPath": "/tmp"}]
    volumes: list[dict[str, Any]] = [
        {"name": "work", "emptyDir": {"sizeLimit": settings.ephemeral_storage}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
    ]
    if bundle is not None:
        mounts.append({"name": "ca", "mountPath": CA_FOLDER, "readOnly": True})  # type: ignore[dict-item]
        items = [{"key": bundle.key, "path": CA_FILE}]
        volumes.append({"name": "ca", "configMap": {"name": bundle.config_map, "items": items}})
    amounts = {"cpu": settings.cpu, "memory": settings.memory, "ephemeral-storage": settings.ephemeral_storage}
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 30,
        "serviceAccountName": settings.service_account_name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            **given("runAsUser", pod.run_as_user),
            **given("runAsGroup", pod.run_as_user),
            **given("fsGroup", pod.run_as_user),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **given("nodeSelector", dict(settings.node_selector)),
        **given("imagePullSecrets", [{"name": name} for name in settings.image_pull_secrets]),
        "containers": [
            {
                "name": IMPORTER,
                "image": settings.image,
                "imagePullPolicy": settings.image_pull_policy,
                "command": list(_COMMAND),
                "args": [verbatim(store_uri), found.base, str(found.number)],
                "env": _environment(settings, pod),
                **given("envFrom", _env_from(settings)),
                "resources": {"requests": amounts, "limits": dict(amounts)},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }


def _environment(settings: ImportJobSettings, pod: PodSettings) -> list[dict[str, Any]]:
    values = {
        "LORAMILL_IMPORT_FOLDER": FOLDER,
        "LORAMILL_IMPORT_LARGEST": str(settings.largest_bytes),
        "LORAMILL_IMPORT_BUCKETS": " ".join(settings.buckets),
        "LORAMILL_IMPORT_HUB_ENDPOINT": settings.hub.endpoint if settings.hub is not None else "",
        "AWS_ENDPOINT_URL_S3": pod.s3.endpoint_url or "",
        "AWS_DEFAULT_REGION": pod.s3.region or "",
        "AWS_CA_BUNDLE": f"{CA_FOLDER}/{CA_FILE}" if pod.s3.ca_bundle is not None else "",
    }
    environment: list[dict[str, Any]] = [
        {"name": name, "value": verbatim(value)} for name, value in values.items() if value
    ]
    token = settings.hub.token if settings.hub is not None else None
    if token is not None:
        reference = {"name": token.secret, "key": token.key}
        environment.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    return environment


def _env_from(settings: ImportJobSettings) -> list[dict[str, Any]]:
    return [{"secretRef": {"name": settings.storage_secret}}] if settings.storage_secret is not None else []
