"""Karpenter over a provider whose machines are Node objects and nothing else: what it decides is real, what it buys is not.

Cluster-autoscaler cannot be had as a Go package; what Karpenter does here stands for both.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from deploy.cluster import go_builds, processes
from deploy.cluster.commands import run
from deploy.cluster.control_plane import kubectl
from deploy.cluster.errors import ClusterError
from deploy.cluster.go_builds import KARPENTER, KARPENTER_VERSION, binary
from deploy.cluster.paths import CACHE, KUBECONFIG, STATE

CAPACITY_TYPE = "karpenter.sh/capacity-type"
PROCESS = "karpenter"
_NAMESPACE = "karpenter"
_ZONE = "zone-a"
_READY_SECONDS = 60
_EMPTY_AFTER = "10s"


@dataclass(frozen=True)
class InstanceType:
    """A kind of machine that can be bought."""

    name: str
    gpus: int
    cpu: int
    memory_gib: int
    prices: dict[str, float]
    """Per hour, by capacity type: `on-demand`, `spot`."""


@dataclass(frozen=True)
class Pool:
    """A NodePool."""

    capacity_type: str
    consolidation: str
    """`WhenEmpty`, or `WhenEmptyOrUnderutilized`, which also moves pods together that may be moved."""
    gpus: int
    """At most, of all its machines."""


def start(instance_types: Sequence[InstanceType], pools: Sequence[Pool], boot_seconds: int) -> None:
    """Starts it, built where the cache lacks it, and waits until it serves.

    `boot_seconds` pass from the purchase of a machine to its Node object.
    """
    go_builds.build((KARPENTER,))
    kubectl("apply", "--server-side", *(f"--filename={path}" for path in _definitions()))
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "customresourcedefinitions", "--all")
    folder = STATE / PROCESS
    folder.mkdir(parents=True, exist_ok=True)
    types = folder / "instance-types.json"
    types.write_text(json.dumps([_instance_type(each) for each in instance_types]))
    namespace: object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}}
    kubectl(
        "apply", "--filename=-", text=yaml.safe_dump_all([namespace, _node_class(boot_seconds), *map(_pool, pools)])
    )
    process = processes.start(PROCESS, [binary(KARPENTER)], _environment(types))
    processes.wait_until(lambda: "Starting workers" in process.log.read_text(), _READY_SECONDS, "Karpenter", process)


def _definitions() -> Sequence[Path]:
    """Its CustomResourceDefinitions, out of the Go module."""
    kept = CACHE / f"karpenter-{KARPENTER_VERSION}"
    if not kept.exists():
        module = f"sigs.k8s.io/karpenter@{KARPENTER_VERSION}"
        found = Path(json.loads(run(["go", "mod", "download", "-json", module], folder=Path("/")))["Dir"])
        partial = kept.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for path in (*found.glob("pkg/apis/crds/*.yaml"), *found.glob("kwok/apis/crds/*.yaml")):
            shutil.copyfile(path, partial / path.name)
        partial.rename(kept)
    definitions = sorted(kept.glob("*.yaml"))
    if not definitions:
        raise ClusterError(f"{kept} holds no CustomResourceDefinitions; remove it, so that it is filled again.")
    return definitions


def _instance_type(offered: InstanceType) -> dict[str, object]:
    def requirement(key: str, value: str) -> dict[str, object]:
        return {"key": key, "operator": "In", "values": [value]}

    return {
        "name": offered.name,
        "architecture": "amd64",
        "operatingSystems": ["linux"],
        "resources": {
            "cpu": str(offered.cpu),
            "memory": f"{offered.memory_gib}Gi",
            "ephemeral-storage": "500Gi",
            "nvidia.com/gpu": str(offered.gpus),
            "pods": "110",
        },
        "offerings": [
            {
                "Price": price,
                "Available": True,
                "Requirements": [
                    requirement(CAPACITY_TYPE, capacity_type),
                    requirement("topology.kubernetes.io/zone", _ZONE),
                ],
            }
            for capacity_type, price in offered.prices.items()
        ],
    }


def _node_class(boot_seconds: int) -> object:
    return {
        "apiVersion": "karpenter.kwok.sh/v1alpha1",
        "kind": "KWOKNodeClass",
        "metadata": {"name": "default"},
        "spec": {"nodeRegistrationDelay": f"{boot_seconds}s"},
    }


def _pool(pool: Pool) -> object:
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": pool.capacity_type},
        "spec": {
            "template": {
                "spec": {
                    "requirements": [{"key": CAPACITY_TYPE, "operator": "In", "values": [pool.capacity_type]}],
                    "nodeClassRef": {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"},
                    "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}],
                    "expireAfter": "Never",
                }
            },
            "limits": {"nvidia.com/gpu": str(pool.gpus)},
            "disruption": {
                "consolidationPolicy": pool.consolidation,
                "consolidateAfter": _EMPTY_AFTER,
                "budgets": [{"nodes": "100%"}],
            },
        },
    }


def _environment(types: Path) -> dict[str, str]:
    return {
        "KUBECONFIG": str(KUBECONFIG),
        "INSTANCE_TYPES_FILE_PATH": str(types),
        "KUBERNETES_MIN_VERSION": "1.19.0-0",
        "SYSTEM_NAMESPACE": _NAMESPACE,
        "KARPENTER_SERVICE": "karpenter",
        "METRICS_PORT": "8080",
        "HEALTH_PROBE_PORT": "8081",
        "DISABLE_LEADER_ELECTION": "true",
        "BATCH_IDLE_DURATION": "1s",
        "BATCH_MAX_DURATION": "5s",
        "FEATURE_GATES": "NodeRepair=false,ReservedCapacity=false,SpotToSpotConsolidation=false,"
        "NodeOverlay=false,StaticCapacity=false",
    }
