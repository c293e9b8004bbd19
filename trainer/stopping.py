"""SIGTERM and SIGINT: noticed between optimizer steps, and an interruption of whatever can be done again.

Nothing heavy is imported here, so that the signals are listened to before anything else happens. The first process of a
container needs that: signals have no default actions for it, so that without a handler it does not hear SIGTERM at all.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING_SECONDS = 10.0
"""How long a store that does not answer is asked again by a process that was told to stop: some are killed after 15."""


class Stopped(BaseException):
    """The process was told to stop. No Exception, so that nothing on its way takes it for a failure and goes on."""


class StopSignal:
    """Listens from its creation on. A signal is noticed, and raises Stopped where the main thread allows it."""

    def __init__(self) -> None:
        self.received = False
        self._may_interrupt = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._notice)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        # Only the first one interrupts: those that follow must not disturb the saving.
        if not self.received:
            self.received = True
            if self._may_interrupt:
                raise Stopped

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """While it lasts, a signal raises Stopped in the main thread, wherever that is; at once if one came before."""
        before, self._may_interrupt = self._may_interrupt, True
        try:
            self.check()
            yield
        finally:
            self._may_interrupt = before

    def check(self) -> None:
        """Raises Stopped if a signal came: for long work, in case that somebody on the way swallowed it."""
        if self.received:
            raise Stopped
