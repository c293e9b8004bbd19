"""`python -m tests.trainer.halted ASSIGNMENT_URI`: a trainer that halts (SIGSTOP) once it has committed its first checkpoint.

Whoever waits for it can kill it there, however slow or fast the two of them are.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from trainer import checkpoint
from trainer.__main__ import main

commit = checkpoint.commit


def commit_and_halt(*arguments: Any) -> None:
    commit(*arguments)
    os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    checkpoint.commit = commit_and_halt
    sys.exit(main(sys.argv[1:]))
