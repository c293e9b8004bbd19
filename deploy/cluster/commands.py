"""Runs a command to its end, and tells its last words where it fails."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.cluster.errors import ClusterError

_TAIL_LINES = 20


def run(
    command: Sequence[str | Path],
    *,
    text: str | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """Runs a command, with `text` as its standard input, and returns its standard output.

    Raises:
        ClusterError: it is not there, or ended with another code than 0.
    """
    said = shlex.join(map(str, command))
    try:
        done = subprocess.run(
            command,
            input=text or "",
            env={**os.environ, **(environment or {})},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise ClusterError(f"`{command[0]}` is not on this machine; install it, or run `up`, which does.") from None
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_TAIL_LINES:])
        raise ClusterError(f"`{said}` ended with code {done.returncode}:\n{last}")
    return done.stdout
