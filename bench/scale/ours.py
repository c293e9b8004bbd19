"""The service as it is, over S3, with an executor that starts nothing: `python -m bench.scale.ours PORT FOLDER [STORE]`."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import uvloop

from loramill import v1
from service.composition import serving
from service.executors import Execution, ExecutionState, KnownLaunch
from service.platforms.local import local_platform
from service.platforms.opening import opened
from service.settings import Settings


class Idle:
    """Every launch works, for ever."""

    def launch(self, tenant: str, job: str, number: int, assignment: v1.Assignment, assignment_uri: str) -> None:
        """Starts nothing."""

    def observe(self, tenant: str, job: str, number: int) -> Execution:
        del tenant, job, number
        return Execution(ExecutionState.RUNNING)

    def stop(self, tenant: str, job: str, number: int) -> None:
        """Stops nothing."""

    forget = stop

    def known(self) -> tuple[KnownLaunch, ...]:
        """Nothing that the record could lack."""
        return ()

    def read_log(self, tenant: str, job: str, number: int, offset: int) -> bytes | None:
        del tenant, job, number, offset
        return None


async def serve(port: int, folder: Path, store: str) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    loop.set_default_executor(ThreadPoolExecutor(32))
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    settings = Settings(local=True, port=port, metrics_port=0, data=folder, jobs=1)
    with local_platform(settings, Idle()) as local:
        # As on a cluster: jobs are looked at every ten seconds, and whatever happens is told.
        platform = replace(local, look_again=timedelta(seconds=10))
        if store != "file":
            platform = replace(platform, store=opened(store))
        async with serving(settings, platform):
            gc.freeze()  # as the service's own main function does
            await stopped.wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
