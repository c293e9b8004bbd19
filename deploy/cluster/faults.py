"""Bad days on purpose: what tests break of the cluster, and how it is made whole again.

Every context manager leaves the cluster as it found it, however its block ends. All of them work by process id, for
processes of the cluster alone.
"""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import Callable, Iterator

from deploy.cluster import ceph, containerd, control_plane, kubelet, processes, versity
from deploy.cluster.node import NODES, Node
from deploy.cluster.storage import retried

API_SERVER = "kube-apiserver"
CEPH = ceph.GATEWAY
VERSITY = versity.PROCESS

_READY_SECONDS = 60
_QUESTIONS: dict[str, Callable[[], object]] = {
    API_SERVER: lambda: control_plane.kubectl("get", "--raw=/readyz"),
    CEPH: ceph.make_bucket,
    VERSITY: versity.list_buckets,
    **{containerd.process_name(node): functools.partial(containerd.ctr, node, "version") for node in NODES},
}
"""What each of them answers, or raises ClusterError."""


@contextlib.contextmanager
def refusing(name: str) -> Iterator[None]:
    """A process is killed: who connects to it is refused. It is started anew at the end of the block.

    The containers of a containerd survive that, each with its shim.
    """
    processes.stop(name, signal.SIGKILL)
    try:
        yield
    finally:
        restart(name)


@contextlib.contextmanager
def not_answering(name: str) -> Iterator[None]:
    """A process is stopped: who connects to it waits for an answer in vain. It goes on at the end of the block."""
    process = processes.recorded(name)
    process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.signal(signal.SIGCONT)
        _wait_answers(name)


@contextlib.contextmanager
def node_lost(node: Node) -> Iterator[None]:
    """A node's kubelet is killed. Its pods run on, unseen; the node becomes NotReady after 40 s."""
    processes.stop(kubelet.process_name(node), signal.SIGKILL)
    try:
        yield
    finally:
        kubelet.restart(node)


@contextlib.contextmanager
def node_removed(node: Node) -> Iterator[None]:
    """A node's kubelet is killed and its Node object deleted, as a cloud does. Its pods' processes run on: zombies."""
    with node_lost(node):
        control_plane.kubectl("delete", "node", node.name)
        yield


def restart(name: str) -> None:
    """Starts a process anew, and waits until it answers."""
    processes.restart(name)
    _wait_answers(name)


def _wait_answers(name: str) -> None:
    """Waits until a process answers; of one that is asked nothing, that it is alive is enough."""
    question = _QUESTIONS.get(name, lambda: None)
    retried(question, _READY_SECONDS, f"{name} does not answer", processes.recorded(name))
