"""The pod of a launch: one container, restricted, nothing writable but its own volumes. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from service.kubernetes_names import CONTAINER
from service.kubernetes_syntax import cpus_of
from service.pod_settings import ImageBases

if TYPE_CHECKING:
    from service.compute_classes import ComputeClass, NodeRequirement, Toleration
    from service.pod_settings import ClaimedBases, PodSettings

METRICS_PORT = 9464
METRICS_PORT_NAME = "metrics"
"""Where Prometheus reads what a trainer measures."""

BASES_FOLDER = "/var/lib/loramill/bases"
WORK_FOLDER = "/var/lib/loramill/work"
CREDENTIALS_FOLDER = "/var/run/loramill/credentials"
CREDENTIALS_CONFIG = "config"
"""Name of the file among the credentials that AWS_CONFIG_FILE points to."""

CA_FOLDER = "/var/run/loramill/ca"
CA_FILE = "ca.crt"
_TEMPORARY_SIZE = "1Gi"

_SILENT_NODES = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
"""Taints that Kubernetes sets on a node which does not answer."""
_SILENCE_SECONDS = 60
"""How long a pod waits for such a node before it is given up. By default 300 s, of which each is a GPU's that does nothing."""


def pod_spec(secret: str, assignment_uri: str, compute_class: ComputeClass, pod: PodSettings) -> dict[str, Any]:
    """The PodSpec (core/v1). `secret` names the Secret with the storage credentials."""
    mounts = [*_scratch(compute_class), *_operator_volumes(secret, pod)]
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": compute_class.grace_seconds,
        "serviceAccountName": pod.service_account_name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            # Numeric, so that the kubelet can see that it is not root.
            **given("runAsUser", pod.run_as_user),
            **given("runAsGroup", pod.run_as_user),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **_placement(compute_class),
        **given("imagePullSecrets", [{"name": name} for name in pod.image_pull_secrets]),
        "containers": [
            {
                "name": CONTAINER,
                "image": pod.image,
                "imagePullPolicy": pod.image_pull_policy,
                "args": [verbatim(assignment_uri)],
                "env": [{"name": name, "value": value} for name, value in _environment(compute_class, pod).items()],
                "ports": [{"name": METRICS_PORT_NAME, "containerPort": METRICS_PORT}],
                "resources": _resources(compute_class),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [mount for mount, _ in mounts],
            }
        ],
        "volumes": [volume for _, volume in mounts],
    }


def _placement(compute_class: ComputeClass) -> dict[str, Any]:
    required = [_requirement(requirement) for requirement in compute_class.node_affinity]
    terms = {"nodeSelectorTerms": [{"matchExpressions": required}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}} if required else {}
    return {
        **given("priorityClassName", compute_class.priority_class_name),
        **given("runtimeClassName", compute_class.runtime_class_name),
        **given("nodeSelector", dict(compute_class.node_selector)),
        **given("affinity", affinity),
        "tolerations": [*map(_toleration, compute_class.tolerations), *_of_silent_nodes(compute_class)],
    }


def _requirement(requirement: NodeRequirement) -> dict[str, Any]:
    return {
        "key": requirement.key,
        "operator": requirement.operator,
        **given("values", list(requirement.values)),
    }


def _toleration(toleration: Toleration) -> dict[str, Any]:
    return {
        "key": toleration.key,
        "operator": toleration.operator,
        **given("value", toleration.value),
        **given("effect", toleration.effect),
    }


def _of_silent_nodes(compute_class: ComputeClass) -> list[dict[str, Any]]:
    """For a while only, where the operator does not say otherwise."""
    told = {toleration.key for toleration in compute_class.tolerations}
    return [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _SILENCE_SECONDS}
        for key in _SILENT_NODES
        if key not in told
    ]


def _resources(compute_class: ComputeClass) -> dict[str, Any]:
    """Requests equal limits: the pod is of the Guaranteed class, the last that a node under pressure turns to."""
    amounts = {
        "cpu": compute_class.cpu,
        "memory": compute_class.memory,
        "ephemeral-storage": compute_class.ephemeral_storage,
    }
    if compute_class.gpus:
        amounts[compute_class.gpu_resource] = str(compute_class.gpus)
    return {"requests": amounts, "limits": dict(amounts)}


def _environment(compute_class: ComputeClass, pod: PodSettings) -> dict[str, str]:
    values = {
        "LORAMILL_TRAINER_WORK_DIR": WORK_FOLDER,
        "LORAMILL_TRAINER_DEVICE": "" if compute_class.gpus else "cpu",
        # Else as many threads as the node has processors would share what the container may use of them.
        "OMP_NUM_THREADS": str(math.ceil(cpus_of(compute_class.cpu))),
        "LORAMILL_TRAINER_METRICS_PORT": str(METRICS_PORT),
        "LORAMILL_TRAINER_METRICS_ADDRESS": "0.0.0.0",
        "LORAMILL_TRAINER_BASES": BASES_FOLDER if pod.base_models is not None else "",
        "AWS_CONFIG_FILE": f"{CREDENTIALS_FOLDER}/{CREDENTIALS_CONFIG}" if pod.mount_credentials else "",
        "AWS_ENDPOINT_URL_S3": pod.s3.endpoint_url or "",
        "AWS_DEFAULT_REGION": pod.s3.region or "",
        "AWS_CA_BUNDLE": f"{CA_FOLDER}/{CA_FILE}" if pod.s3.ca_bundle is not None else "",
        "OTEL_EXPORTER_OTLP_ENDPOINT": pod.traces_endpoint or "",
    }
    return {name: value for name, value in values.items() if value}


Mounted = tuple[dict[str, Any], dict[str, Any]]
"""A volumeMount and its volume."""


def _mounted(name: str, path: str, source: dict[str, Any], *, read_only: bool) -> Mounted:
    return {"name": name, "mountPath": path, **given("readOnly", read_only)}, {"name": name, **source}


def _scratch(compute_class: ComputeClass) -> list[Mounted]:
    """What the trainer writes to; the size limits make the kubelet evict it before it fills the node's disk."""
    shm = {"emptyDir": {"medium": "Memory", "sizeLimit": compute_class.shm}}
    return [
        _mounted("work", WORK_FOLDER, {"emptyDir": {"sizeLimit": compute_class.ephemeral_storage}}, read_only=False),
        _mounted("tmp", "/tmp", {"emptyDir": {"sizeLimit": _TEMPORARY_SIZE}}, read_only=False),
        _mounted("shm", "/dev/shm", shm, read_only=False),
    ]


def _operator_volumes(secret: str, pod: PodSettings) -> list[Mounted]:
    mounts = []
    if pod.mount_credentials:
        source: dict[str, Any] = {"secret": {"secretName": secret}}
        mounts.append(_mounted("credentials", CREDENTIALS_FOLDER, source, read_only=True))
    if pod.s3.ca_bundle is not None:
        bundle = pod.s3.ca_bundle
        source = {"configMap": {"name": bundle.config_map, "items": [{"key": bundle.key, "path": CA_FILE}]}}
        mounts.append(_mounted("ca", CA_FOLDER, source, read_only=True))
    if pod.base_models is not None:
        mounts.append(_mounted("bases", BASES_FOLDER, _bases_source(pod.base_models, pod), read_only=True))
    return mounts


def _bases_source(bases: ClaimedBases | ImageBases, pod: PodSettings) -> dict[str, Any]:
    if isinstance(bases, ImageBases):
        return {"image": {"reference": bases.image, "pullPolicy": pod.image_pull_policy}}
    return {"persistentVolumeClaim": {"claimName": bases.persistent_volume_claim, "readOnly": True}}


def given(key: str, value: Any) -> dict[str, Any]:
    """The field, where there is something to say."""
    return {key: value} if value else {}


def verbatim(argument: str) -> str:
    """Kubernetes would put a variable's value in the place of `$(NAME)`."""
    return argument.replace("$", "$$")
