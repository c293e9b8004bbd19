"""Runs named steps, side by side or in order, and keeps how long each took."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable, Iterable

from rich.console import Console

from deploy.cluster.errors import ClusterError

Step = tuple[str, Callable[[], object]]


class Steps:
    """The steps that were run, in the order in which they ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()

    def in_order(self, steps: Iterable[Step]) -> None:
        """Runs one after the other; the first that fails ends it."""
        for step in steps:
            self._run(step)

    def side_by_side(self, steps: Iterable[Step]) -> None:
        """Runs all at once.

        Raises:
            ClusterError: some failed, after all have ended; it names each.
        """
        with concurrent.futures.ThreadPoolExecutor() as pool:
            futures = [pool.submit(self._run, step) for step in steps]
        problems = [problem for future in futures if (problem := future.exception()) is not None]
        for problem in problems:
            if not isinstance(problem, ClusterError):
                raise problem
        if problems:
            raise ClusterError("\n".join(map(str, problems)))

    def total(self) -> None:
        self._print("total", self._start)

    def _run(self, step: Step) -> None:
        name, act = step
        start = time.monotonic()
        act()
        self._print(name, start)

    def _print(self, name: str, start: float) -> None:
        self._console.print(f"{time.monotonic() - start:6.1f} s  {name}", highlight=False)
