"""The nodes of the cluster. They differ by data alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy.cluster.network import ADDRESSES
from deploy.cluster.paths import CACHE, STATE


@dataclass(frozen=True)
class Node:
    """A real node: a containerd and a kubelet of its own."""

    name: str
    address: str
    pod_network: str
    gpus: int
    """How many `nvidia.com/gpu` it advertises. There is no device behind them."""

    capacity: str
    """Value of the label loramill.dev/capacity."""

    @property
    def folder(self) -> Path:
        return STATE / self.name

    @property
    def socket(self) -> Path:
        """Where its containerd listens."""
        return self.folder / "containerd.sock"

    @property
    def images(self) -> Path:
        """Root of its containerd: images, unpacked and not."""
        return CACHE / "containerd" / self.name

    @property
    def cgroup(self) -> str:
        """All its pods lie below. With a shared one, each kubelet removes the pods of the other."""
        return f"/loramill-{self.name}"


NODE1 = Node("node1", ADDRESSES[0], "10.244.1.0/24", gpus=4, capacity="on-demand")
NODE2 = Node("node2", ADDRESSES[1], "10.244.2.0/24", gpus=2, capacity="spot")
NODES = (NODE1, NODE2)
