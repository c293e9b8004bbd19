"""GPU nodes that come and go, simulated: `python -m bench.nodes [--jobs 200] [--interrupt 300] …`, one table.

Brings up a control plane of its own beside whatever runs (as root, see docs/cluster.md), sends jobs to a service of its own while
Karpenter buys and returns simulated machines, and removes everything again. With `--nodes N` the machines are fixed, and there
is no autoscaler. Ends with 1 if a job did not succeed, a trainer was driven out by scaling down, or a machine stayed.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys

CLUSTER = "loramill-nodes"
"""Unless LORAMILL_CLUSTER_NAME says another name."""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.nodes", description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--over", type=float, default=180.0, help="seconds within which they are created, at random")
    parser.add_argument("--interrupt", type=float, default=300.0, help="seconds that a spot machine stays; 0 for ever")
    parser.add_argument("--gpus", type=int, default=32, help="of each class, at most")
    parser.add_argument("--nodes", type=int, default=0, help="fixed machines instead of Karpenter's")
    parser.add_argument("--gpus-per-node", type=int, default=8, help="of the fixed machines")
    parser.add_argument(
        "--limit", type=float, default=900.0, help="seconds for all jobs to end, from the last creation"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the jobs' lengths and times")
    parser.add_argument("--keep", action="store_true", help="leave the control plane, for a look at it")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = _options()
    if options.inside:
        from bench.nodes.run import run

        return run(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cluster = os.environ.get("LORAMILL_CLUSTER_NAME", CLUSTER)
    environment = {**os.environ, "LORAMILL_CLUSTER_NAME": cluster}

    def ends(*command: str) -> int:
        with subprocess.Popen([*command], env=environment) as process:
            try:
                return process.wait()
            except (KeyboardInterrupt, SystemExit):
                process.send_signal(signal.SIGINT)  # it ends what it has started
                raise

    python = sys.executable
    try:
        code = ends(python, "-m", "deploy.cluster", "up")
        if code == 0:
            inside = ("nsenter", f"--net=/var/run/netns/{cluster}")
            code = ends(*inside, python, "-m", "bench.nodes", *sys.argv[1:], "--inside")
    finally:
        if not options.keep:
            ends(python, "-m", "deploy.cluster", "down")
    return code


if __name__ == "__main__":
    sys.exit(main())
