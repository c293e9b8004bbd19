"""Keeps Ctrl-C out of gRPC.

Ctrl-C raises KeyboardInterrupt in the main thread, wherever that is. In the midst of gRPC's own steps it leaves a call
half-begun, for which closing the channel then waits for ever (https://github.com/grpc/grpc/issues/19973). So the main
thread never enters gRPC: it waits for another thread that does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


def off_main_thread(work: Callable[[], Result]) -> Result:
    """Returns or raises what `work()` does, in another thread if this one is the main thread.

    On Ctrl-C, `work` goes on unheeded, and ends at the latest when its channel is closed.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 (handed on to the thread that waits)
            future.set_exception(error)

    threading.Thread(target=run, name="loramill-call", daemon=True).start()
    return future.result()
