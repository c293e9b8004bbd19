"""An event loop whose clock jumps to whatever is due next: hours of looking, waiting and looking again in moments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import datetime, timedelta
from typing import Any

from tests.service.runtime.world import START


class VirtualLoop(asyncio.SelectorEventLoop):
    """Work for threads is done at once, in this one, so that time stands still meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def clock(self) -> datetime:
        return START + timedelta(seconds=self._now)

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *arguments: object
    ) -> asyncio.Future[Any]:
        del executor
        done: asyncio.Future[Any] = self.create_future()
        try:
            done.set_result(func(*arguments))
        except Exception as error:  # noqa: BLE001 (whoever awaits it gets it)
            done.set_exception(error)
        return done

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self._now = max(self._now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]
