"""Nodes that a real autoscaler buys and returns, in a cluster beside this one: a small form of `make simulate-nodes`."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

pytestmark = pytest.mark.operations
"""A second control plane and an autoscaler, built when it is first asked for, leave no time to others."""

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(900)
def test_jobs_find_nodes_and_nodes_go_again() -> None:
    """The command fails where a job does not succeed, a trainer is driven out by scaling down, too much work is lost, or a node
    stays. A spot machine stays longer than these jobs take: of so few, chance alone would lose more than it may."""
    name = f"loramill-{uuid.uuid4().hex[:8]}"
    options = ("--jobs=16", "--over=20", "--interrupt=200", "--gpus=16", "--limit=500")
    done = subprocess.run(
        [sys.executable, "-m", "bench.nodes", *options],
        cwd=ROOT,
        env={**os.environ, "LORAMILL_CLUSTER_NAME": name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "16 of 16 jobs have ended" in done.stdout
    assert "0 nodes are left" in done.stdout
    assert not Path(f"/var/run/netns/{name}").exists()
    assert not Path(f"/var/lib/{name}-cluster").exists()
