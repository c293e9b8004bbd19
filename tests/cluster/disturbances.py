"""What befalls pods: evicted, killed by their process id, kept off a node. `deploy.cluster.faults` has what befalls processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator

from deploy.cluster import containerd
from deploy.cluster.node import NODES
from tests.cluster.installed import Installed, Object


def evict(installed: Installed, pod: Object) -> None:
    """As whoever drains a node does."""
    metadata = {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}
    body = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata})
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/eviction"
    installed.kubectl("create", "--raw", path, "-f", "-", text=body)


@contextlib.contextmanager
def cordoned(installed: Installed, node: str) -> Iterator[None]:
    """A node that takes no further pods until the block ends."""
    installed.kubectl("cordon", node)
    try:
        yield
    finally:
        installed.kubectl("uncordon", node)


def process_of(pod: Object) -> int | None:
    """The id of the first process of its container; None where that has ended. Asks containerd, since a kubelet may be away."""
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    node = next(node for node in NODES if node.name == pod["spec"]["nodeName"])
    tasks = [line.split() for line in containerd.ctr(node, "tasks", "list").splitlines()[1:]]
    return next((int(pid) for name, pid, state in tasks if name == container and state != "STOPPED"), None)


def signal_container(pod: Object, number: signal.Signals) -> None:
    process = process_of(pod)
    assert process is not None, f"the container of {pod['metadata']['name']} has ended"
    os.kill(process, number)
