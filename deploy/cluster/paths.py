"""Where everything of the local cluster lies: one folder of state, one of caches, one file that tells tests the rest."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_REAL = "loramill"
NAME = os.environ.get("LORAMILL_CLUSTER_NAME") or _REAL
"""Of this cluster, and of its network. Clusters of different names live side by side."""

SIMULATED = NAME != _REAL
"""Whether its nodes are simulated: a machine has room for one cluster of real ones, since not all of theirs can be moved."""

STATE = Path("/var/lib") / f"{NAME}-cluster"
"""All that lives with the cluster. `down` removes it."""

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "loramill" / "cluster"
"""What is dear to make and holds no state: binaries, and the images that the nodes know. `down` leaves it."""

BUILD = ROOT / "build" / ("cluster" if not SIMULATED else f"cluster-{NAME}")
"""What people and tests read: kubeconfig and cluster.json."""

KUBECONFIG = BUILD / "kubeconfig"
CERTIFICATES = STATE / "certificates"
CA = CERTIFICATES / "ca.crt"
