"""`python -m service`: reads the settings, serves until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import structlog
import uvloop

from service.composition import serving
from service.logs import set_up_logging
from service.platforms import Platform
from service.platforms.local import local_platform
from service.settings import Settings, Unusable, read_settings
from store.tracing import TracingUnusable, start_tracing

log = structlog.get_logger(__name__)

UNUSABLE_EXIT_CODE = 2
_THREADS = 32
_OPEN_FILES = 65_536


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises Unusable, and what ends the reconciler."""
    _allow_open_files()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Threads here wait for storage, not for a processor: many more than there are processors are of use.
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="service"))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    with _platform(settings) as platform:
        async with serving(settings, platform) as service:
            # What is there now stays. To look through all of it again for garbage would stop every call for a tenth of a second.
            gc.freeze()
            log.info(
                f"Loramill serves on {service.address}, data in {platform.store.uri}",
                metrics=f"http://{platform.host}:{service.metrics_port}/metrics",
            )
            waiting = asyncio.create_task(stopped.wait())
            await asyncio.wait({waiting, service.reconciling}, return_when=asyncio.FIRST_COMPLETED)
            if not stopped.is_set():
                waiting.cancel()
                await service.reconciling
            log.info("Loramill stops; running trainers go on")


def _allow_open_files() -> None:
    """As many as may be: each connection is one, and shells and containers often begin with no more than 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _platform(settings: Settings) -> AbstractContextManager[Platform]:
    if settings.config is None:
        return local_platform(settings)
    # Here, because local mode has no use for what a cluster needs, and it takes a while to import.
    from service.configuration import read_configuration
    from service.platforms.cluster import cluster_platform

    return cluster_platform(settings, read_configuration(settings.config))


def main(arguments: Sequence[str]) -> int:
    try:
        settings = read_settings(arguments)
        set_up_logging(
            as_json=settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
        )
        send_spans = start_tracing("loramill-service")
        try:
            uvloop.run(run(settings))
        finally:
            send_spans()
    except (Unusable, TracingUnusable) as error:
        print(error, file=sys.stderr)
        return UNUSABLE_EXIT_CODE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
