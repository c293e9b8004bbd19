"""Following one job across lost connections. Pure: the stream is opened and time is spent by functions passed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loramill import v1
from loramill.errors import NotAuthenticated, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TERMINAL = frozenset({v1.TRAINING_JOB_STATE_SUCCEEDED, v1.TRAINING_JOB_STATE_FAILED, v1.TRAINING_JOB_STATE_CANCELLED})
"""States in which a job stays for ever."""


CREDENTIALS_EXPIRED = "CREDENTIALS_EXPIRED"
"""The reason with which the service ends a stream when the token that it began with does."""


@dataclass(frozen=True)
class Patience:
    """How long a watch goes on trying: it waits `first` seconds, then twice as long each time, at most `longest`."""

    first: float = 0.5
    longest: float = 10.0
    total: float = 300.0
    """Seconds of waiting since the last message, after which the watch gives up."""

    def waits(self) -> Iterator[float]:
        """Seconds to wait before each further try."""
        waited, wait = 0.0, self.first
        while waited < self.total:
            yield wait
            waited += wait
            wait = min(2 * wait, self.longest)


def watch(
    open_stream: Callable[[], Iterator[v1.WatchTrainingJobResponse]],
    patience: Patience,
    sleep: Callable[[float], None],
    on_lost: Callable[[Unreachable], None],
) -> Iterator[v1.TrainingJob]:
    """Yields the job at once and after each change, until it has ended.

    A stream that breaks off, or ends before the job does, is opened again, and `on_lost` hears of it. If not even the
    first message came, or patience runs out, the Unreachable is raised; every other error is raised at once. A stream that
    ends with the credentials that it began with is opened again with new ones.
    """
    waits: Iterator[float] = iter(())
    while True:
        answered = False
        try:
            for answer in open_stream():
                answered = True
                waits = patience.waits()
                yield answer.training_job
                if answer.training_job.state in TERMINAL:
                    return
            lost = Unreachable("The service ended the watch before the job had ended. Watch the job again.")
        except Unreachable as error:
            lost = error
        except NotAuthenticated as error:
            if not answered or error.reason != CREDENTIALS_EXPIRED:
                raise
            continue
        wait = next(waits, None)
        if wait is None:
            raise lost
        on_lost(lost)
        sleep(wait)
