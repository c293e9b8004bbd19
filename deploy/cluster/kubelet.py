"""The kubelet of a node, and the GPUs that the node advertises."""

from __future__ import annotations

import contextlib
import functools
import json
from pathlib import Path

import yaml

from deploy.cluster import cgroups, processes
from deploy.cluster.certificates import certificate_file, key_file, kubeconfig_file
from deploy.cluster.control_plane import kubectl
from deploy.cluster.errors import ClusterError
from deploy.cluster.go_builds import KUBERNETES, binary
from deploy.cluster.network import DNS_ADDRESS
from deploy.cluster.node import NODES, Node
from deploy.cluster.paths import CA

DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")
"""Where every kubelet of a machine listens for device plugins; the one place that no option moves."""

_READY_SECONDS = 90
_CONDITIONS = '{range .status.conditions[*]}{.type}={.status}{" "}{end}'
_READY = "Ready=True"


def refuse_another() -> None:
    """Raises ClusterError where the machine runs a kubelet that is not ours: ours would take its socket away."""
    if DEVICE_PLUGINS.exists():
        raise ClusterError(
            f"This machine has a kubelet already ({DEVICE_PLUGINS} is there); use its cluster, as docs/cluster.md says."
        )


def start(node: Node) -> None:
    """Starts the node's kubelet; its containerd runs already."""
    cgroups.create(node.cgroup)
    path = node.folder / "kubelet.yaml"
    path.write_text(yaml.safe_dump(_configuration(node)))
    arguments = [
        f"--config={path}",
        f"--root-dir={node.folder / 'kubelet'}",
        f"--cert-dir={node.folder / 'kubelet' / 'pki'}",
        f"--kubeconfig={kubeconfig_file(node.name)}",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
        # Given at registration, so that a Node object that is made anew has them too.
        f"--node-labels=loramill.dev/capacity={node.capacity}",
    ]
    processes.start(process_name(node), [binary(KUBERNETES), "kubelet", *arguments])


def restart(node: Node) -> None:
    """Starts the node's kubelet anew, and waits until its node takes pods and has its GPUs."""
    processes.stop(process_name(node))
    with contextlib.suppress(ClusterError):  # where there is no Node object, nobody can take its old word for a new one
        unknown = json.dumps({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})
        kubectl("patch", "node", node.name, "--subresource=status", f"--patch={unknown}")
    processes.restart(process_name(node))
    wait_ready(node)
    # A kubelet that starts sets what it does not know to none, so this comes after it.
    advertise_gpus(node)


def process_name(node: Node) -> str:
    return f"kubelet-{node.name}"


def wait_ready(*nodes: Node) -> None:
    """Waits until the nodes, or all where none is named, take pods."""
    for node in nodes or NODES:
        process = processes.recorded(process_name(node))
        processes.wait_until(functools.partial(is_ready, node), _READY_SECONDS, f"{node.name} is not ready", process)


def is_ready(node: Node) -> bool:
    """Whether the API server knows the node as one that takes pods; it learns of a lost one after 40 s."""
    return _READY in kubectl("get", "node", node.name, "--ignore-not-found", f"--output=jsonpath={_CONDITIONS}").split()


def advertise_gpus(*nodes: Node) -> None:
    """Writes GPUs into the status of the nodes, or of all where none is named. A Node object made anew has none."""
    for node in nodes or NODES:
        capacity = {"nvidia.com/gpu": str(node.gpus)}
        patch = json.dumps({"status": {"capacity": capacity, "allocatable": capacity}})
        kubectl("patch", "node", node.name, "--subresource=status", "--type=merge", f"--patch={patch}")


def _configuration(node: Node) -> dict[str, object]:
    """Evictions come late and images are never collected: the machine's disk and memory are not the cluster's alone."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "healthzBindAddress": node.address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(CA)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(certificate_file(node.name)),
        "tlsPrivateKeyFile": str(key_file(node.name)),
        "containerRuntimeEndpoint": f"unix://{node.socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": node.cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "podLogsDir": str(node.folder / "logs"),
        "volumePluginDir": str(node.folder / "volume-plugins"),
        "imageGCHighThresholdPercent": 100,
        "evictionHard": dict.fromkeys(("nodefs.available", "imagefs.available", "nodefs.inodesFree"), "1%")
        | {"memory.available": "100Mi"},
    }
