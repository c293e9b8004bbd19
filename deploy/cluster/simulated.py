"""A cluster without nodes of its own: the control plane and versitygw, for nodes that are simulated.

It lives beside the cluster of real nodes, in a network and folders of its own, and touches nothing of it.
"""

from __future__ import annotations

import shutil
import signal

from rich.console import Console

from deploy.cluster import certificates, control_plane, go_builds, network, packages, processes, versity
from deploy.cluster.go_builds import KUBERNETES, VERSITYGW
from deploy.cluster.paths import BUILD, STATE
from deploy.cluster.steps import Steps


def up(console: Console) -> None:
    """Starts it afresh; what is left of an earlier one of its name goes first.

    Raises:
        ClusterError: a step failed. What was started until then stays, so that its logs can be read; `down` removes it.
    """
    steps = Steps(console)
    steps.in_order(
        [
            ("packages", packages.install),
            ("Go programs", lambda: go_builds.build((KUBERNETES, VERSITYGW))),
            ("what was left", down),
            ("network namespace", network.create),
            ("certificates", certificates.issue),
        ]
    )
    steps.side_by_side([("control plane", control_plane.start), ("versitygw", versity.start)])
    steps.total()


def down() -> None:
    """Ends its processes and removes its network and folders; caches stay."""
    for process in processes.all_recorded():
        processes.stop(process.name, first=signal.SIGKILL)  # nothing of it is worth an end in good order
    network.delete()
    for folder in (STATE, BUILD):
        shutil.rmtree(folder, ignore_errors=True)
