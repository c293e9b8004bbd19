"""Where everything of the local cluster lies: one folder of state, one of caches, one file that tells tests the rest."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

STATE = Path("/var/lib/loramill-cluster")
"""All that lives with the cluster. `down` removes it."""

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "loramill" / "cluster"
"""What is dear to make and holds no state: binaries, and the images that the nodes know. `down` leaves it."""

BUILD = ROOT / "build" / "cluster"
"""What people and tests read: kubeconfig and cluster.json."""

KUBECONFIG = BUILD / "kubeconfig"
CERTIFICATES = STATE / "certificates"
CA = CERTIFICATES / "ca.crt"
