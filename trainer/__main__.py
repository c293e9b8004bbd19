"""`python -m trainer ASSIGNMENT_URI` does one assignment; `python -m trainer TOOL …` works on the files of adapters."""

from __future__ import annotations

import os
import sys

# Read by CUDA when it is first used: matrix products are then the same in every run.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# Nothing is ever fetched from a hub: trainers read the store only.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def main(arguments: list[str]) -> int:
    """The exit code. torch is loaded by what needs it, so that help and wrong command lines answer at once."""
    if len(arguments) == 1 and "://" in arguments[0]:
        from trainer.assignment import do_assignment

        return do_assignment(arguments[0])
    from trainer.tools.app import run_tool

    return run_tool(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
