"""`python -m trainer ASSIGNMENT_URI` does one assignment; `python -m trainer TOOL …` works on files of models."""

from __future__ import annotations

import os
import sys

from trainer.stopping import Stopped, StopSignal

# Read by CUDA when it is first used: matrix products are then the same in every run.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# Nothing is ever fetched from a hub: trainers read the store only.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def main(arguments: list[str]) -> int:
    """The exit code. torch is loaded by what needs it, so that claims, help and wrong command lines do not wait for it."""
    if len(arguments) == 1 and "://" in arguments[0]:
        return _do_assignment(arguments[0], StopSignal())
    from trainer.tools.app import run_tool

    return run_tool(arguments)


def _do_assignment(uri: str, stop: StopSignal) -> int:
    try:
        with stop.interrupting():
            from trainer.assignment import do_assignment
        return do_assignment(uri, stop)
    except Stopped:
        from trainer.errors import Preempted

        return Preempted.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
