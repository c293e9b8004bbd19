"""Work for several processes of one thread each. What they say goes to a file, so that the terminal shows results alone."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def workers(count: int, log: Path) -> Iterator[Executor]:
    """Processes that begin anew, so that none inherits another's threads."""
    os.environ.update(
        OMP_NUM_THREADS="1", DIFFUSERS_VERBOSITY="error", TRANSFORMERS_VERBOSITY="error", HF_HUB_OFFLINE="1"
    )
    log.parent.mkdir(parents=True, exist_ok=True)
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=fresh, initializer=_speak_to, initargs=(log,)) as pool:
        yield pool


def _speak_to(log: Path) -> None:
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
