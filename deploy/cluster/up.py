"""Brings the cluster up: a list of steps, those that do not wait for each other side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rich.console import Console

from deploy.cluster import (
    ceph,
    certificates,
    containerd,
    control_plane,
    description,
    dns,
    go_builds,
    images,
    kubelet,
    network,
    packages,
    pause,
    processes,
    service,
    traces,
    versity,
)
from deploy.cluster.node import NODE1, NODE2, NODES
from deploy.cluster.steps import Step, Steps

MADE_ONCE: list[Step] = [
    ("packages", packages.install),
    ("Go programs", go_builds.build),
]
"""What the caches hold afterwards."""


def up(console: Console) -> None:
    """Brings up what is not up. A cluster of which a part has ended is removed and started afresh.

    Raises:
        ClusterError: a step failed. What was started until then stays, so that its logs can be read; `down` removes it.
    """
    steps = Steps(console)
    steps.in_order(MADE_ONCE)
    built = images.build(steps)
    references = {image.target: image.reference for image in built}
    if is_up():
        console.print("The cluster runs already.")
    else:
        start(steps, built)
    steps.in_order(
        [
            ("images on the nodes", partial(import_images, built)),
            ("GPUs advertised", kubelet.advertise_gpus),
            ("service", partial(service.install, references, ceph.store())),
            ("cluster.json", partial(description.write, images=references, service=service.described(ceph.store()))),
        ]
    )
    steps.total()


def build(steps: Steps) -> Sequence[images.Image]:
    """Makes what the caches lack; starts nothing."""
    steps.in_order(MADE_ONCE)
    return images.build(steps)


def is_up() -> bool:
    """Whether an earlier `up` came to its end and all that it started runs."""
    started = processes.all_recorded()
    return description.FILE.exists() and bool(started) and all(process.is_alive() for process in started)


def start(steps: Steps, built: Sequence[images.Image]) -> None:
    """Starts a cluster afresh; what is left of an earlier one goes first."""
    traces.remove()
    steps.in_order(
        [
            ("no other kubelet", kubelet.refuse_another),
            ("network namespace", network.create),
            ("certificates", certificates.issue),
        ]
    )
    steps.side_by_side(
        [
            ("control plane", control_plane.start),
            ("containers and images", partial(start_containers, built)),
            ("versitygw", versity.start),
            ("Ceph", ceph.start),
        ]
    )
    steps.in_order([("names", dns.start), ("nodes ready", start_nodes)])


def start_containers(built: Sequence[images.Image]) -> None:
    containerd.start(NODE1)
    containerd.remove_containers(NODE1)
    containerd.import_image(pause.archive(), NODE1)
    images.import_into(NODE1, built)
    containerd.link_images(NODE1, NODE2)
    containerd.start(NODE2)


def import_images(built: Sequence[images.Image]) -> None:
    """What was built since the nodes started: some megabytes at most."""
    for node in NODES:
        images.import_into(node, built)


def start_nodes() -> None:
    for node in NODES:
        kubelet.start(node)
    kubelet.wait_ready()
