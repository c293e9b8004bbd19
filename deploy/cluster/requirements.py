"""What the machine must be, and what it must permit, told before anything is begun."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from deploy.cluster.errors import ClusterError

_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
"""Bits of capabilities(7) that network namespaces and mounts need."""


def check() -> None:
    """Raises ClusterError where the cluster cannot run here; it tells all reasons at once."""
    if not sys.platform.startswith("linux"):
        raise ClusterError(
            "The local cluster needs Linux; elsewhere use a cluster of your own, as docs/cluster.md says."
        )
    if os.geteuid() != 0:
        raise ClusterError("The local cluster needs root, for containers and network namespaces; run this with sudo.")
    held = _effective_capabilities()
    lacking = [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]
    if lacking:
        raise ClusterError(
            f"Root lacks {' and '.join(lacking)} here, as in most containers; use a machine or a privileged container."
        )


def _effective_capabilities() -> int:
    lines = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    return int(lines["CapEff"], 16)
