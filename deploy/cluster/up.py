"""Brings the cluster up: a list of steps, those that do not wait for each other side by side."""

from __future__ import annotations

from rich.console import Console

from deploy.cluster import certificates, containerd, control_plane, go_builds, kubelet, network, packages, pause, traces
from deploy.cluster.node import NODE1, NODE2, NODES
from deploy.cluster.steps import Step, Steps

PREPARE: list[Step] = [
    ("no other kubelet", kubelet.refuse_another),
    ("packages", packages.install),
    ("Go programs", go_builds.build),
    ("network namespace", network.create),
    ("certificates", certificates.issue),
]


def up(console: Console) -> None:
    """Starts a cluster afresh; what is left of an earlier one goes first.

    Raises:
        ClusterError: a step failed. What was started until then stays, so that its logs can be read; `down` removes it.
    """
    steps = Steps(console)
    traces.remove()
    steps.in_order(PREPARE)
    steps.side_by_side(
        [
            ("control plane", control_plane.start),
            ("containers and images", start_containers),
        ]
    )
    steps.in_order(
        [
            ("nodes ready", start_nodes),
            ("GPUs advertised", kubelet.advertise_gpus),
        ]
    )
    steps.total()


def start_containers() -> None:
    containerd.start(NODE1)
    containerd.remove_containers(NODE1)
    containerd.import_image(pause.archive(), NODE1)
    containerd.link_images(NODE1, NODE2)
    containerd.start(NODE2)


def start_nodes() -> None:
    for node in NODES:
        kubelet.start(node)
    kubelet.wait_ready()
