"""The container runtime of a node, and the images that it knows.

The images of the first node lie in the cache folder and outlive the cluster. Those of the others are hard links to them,
so that a layer of gigabytes is imported once and stored once.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import shutil
from pathlib import Path

from deploy.cluster import processes
from deploy.cluster.commands import run
from deploy.cluster.errors import ClusterError
from deploy.cluster.node import NODES, Node
from deploy.cluster.pause import PAUSE_IMAGE

_START_SECONDS = 30
_REMOVE_SECONDS = 20
_CONFIGURATION = """\
version = 2
root = "{root}"
state = "{folder}/containerd"

[grpc]
  address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # A machine that is itself a container may not lower a process's oom_score_adj.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"

  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{folder}/runc"
"""


def start(node: Node) -> None:
    """Starts the node's containerd, and waits until it answers."""
    configuration = node.folder / "containerd.toml"
    (node.folder / "cni").mkdir(parents=True, exist_ok=True)
    (node.folder / "cni" / "loramill.conflist").write_text(json.dumps(_pod_network(node), indent=2))
    configuration.write_text(
        _CONFIGURATION.format(root=node.images, folder=node.folder, socket=node.socket, pause=PAUSE_IMAGE)
    )
    process = processes.start(process_name(node), ["containerd", "--config", configuration])
    processes.wait_until(lambda: _answers(node), _START_SECONDS, f"containerd of {node.name} does not answer", process)


def process_name(node: Node) -> str:
    return f"containerd-{node.name}"


def network_name(node: Node) -> str:
    """Name of the network of the node's pods."""
    return f"loramill-{node.name}"


def import_image(archive: Path, *nodes: Node) -> None:
    """Imports an OCI or Docker archive into the nodes; into all where none is named. A layer they know takes no time."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: ctr(node, "images", "import", str(archive)), nodes or NODES))


def image_digests(node: Node) -> dict[str, str]:
    """Digest of every image that the node knows, by name."""
    lines = ctr(node, "images", "list").splitlines()[1:]
    return {line.split()[0]: line.split()[2] for line in lines}


def link_images(source: Node, target: Node) -> None:
    """Gives the target, which does not run, the images of the source, which runs no containers yet.

    Layers never change once they are there; the databases do, so those are copied.
    """
    shutil.rmtree(target.images, ignore_errors=True)
    run(["cp", "--archive", "--link", source.images, target.images])
    for database in source.images.rglob("*.db"):
        linked = target.images / database.relative_to(source.images)
        linked.unlink()
        shutil.copy2(database, linked)


def remove_containers(node: Node) -> None:
    """Kills every container of the node, and removes it with its writable layer; nothing where containerd does not run."""
    if _answers(node):
        what = f"{node.name} still has containers"
        processes.wait_until(lambda: _has_no_containers_after_removal(node), _REMOVE_SECONDS, what)


def _has_no_containers_after_removal(node: Node) -> bool:
    """The end of a pod's sandbox takes its containers with it at some time, so that a single removal may well fail."""
    containers = ctr(node, "containers", "list", "--quiet").split()
    for container in containers:
        for delete in (["tasks", "delete", "--force"], ["containers", "delete"]):
            with contextlib.suppress(ClusterError):
                ctr(node, *delete, container)
    return not containers


def ctr(node: Node, *arguments: str) -> str:
    """Runs containerd's own client; returns what it prints."""
    return run(ctr_command(node, *arguments))


def ctr_command(node: Node, *arguments: str) -> list[str]:
    """containerd's own client, in that namespace of the node's containerd which its kubelet uses."""
    return ["ctr", "--address", str(node.socket), "--namespace", "k8s.io", *arguments]


def _answers(node: Node) -> bool:
    if not node.socket.exists():
        return False
    try:
        ctr(node, "version")
    except ClusterError:
        return False
    return True


def _pod_network(node: Node) -> dict[str, object]:
    """A bridge for each node. All of them lie in one network namespace, so that pods reach each other without routes."""
    number = node.name.removeprefix("node")
    return {
        "cniVersion": "1.0.0",
        "name": network_name(node),
        "plugins": [
            {
                "type": "bridge",
                "bridge": f"pods{number}",
                "isGateway": True,
                "ipMasq": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": node.pod_network}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": str(node.folder / "addresses"),
                },
            }
        ],
    }
