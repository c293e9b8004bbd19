"""Which tests run: those in `cluster` need a cluster, and `make test-cluster` says where it is."""

from __future__ import annotations

import os

collect_ignore = [] if "LORAMILL_CLUSTER" in os.environ else ["cluster"]
