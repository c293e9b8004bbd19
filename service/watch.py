"""Following jobs: one poll a watched job, however many watch it.

A watcher that is slow to take a state gets the latest one next: nothing queues up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from loramill import v1
from service.errors import NotAvailable
from service.job import is_terminal

Read = Callable[[str, str], Awaitable[v1.TrainingJob]]

READS_PER_S = 400
"""Of all polls together: with more jobs that are watched than this allows, each is looked at less often."""


def stopping() -> NotAvailable:
    return NotAvailable("The service is stopping; the job goes on. Ask again when the service is back.", "STOPPING")


@dataclass
class _Poll:
    """The shared poll of one job. Touched by the event loop's thread only."""

    task: asyncio.Task[None] | None = None
    watchers: int = 0
    latest: v1.TrainingJob | None = None
    version: int = 0
    """Rises with every change of `latest`."""
    ended: Exception | None = None
    """Why no further state will come; also set, to StopAsyncIteration, after the last state."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    due: asyncio.Event = field(default_factory=asyncio.Event)
    """Set where the next look is not to wait."""

    def notify(self) -> None:
        """Wakes all that wait now; those that come later wait for the next change."""
        self.changed.set()
        self.changed = asyncio.Event()


class Watches:
    """All polls that are running."""

    def __init__(self, read: Read, interval: float) -> None:
        """`read` gives (tenant, job) as it stands now, or raises; `interval` is the time between two reads, in seconds."""
        self._read = read
        self._interval = interval
        self._polls: dict[tuple[str, str], _Poll] = {}
        self._stopped = False

    @property
    def polls(self) -> int:
        """Jobs that are watched at the moment."""
        return len(self._polls)

    async def watch(self, tenant: str, job: str) -> AsyncGenerator[v1.TrainingJob]:
        """The job at once, then after every change, until it has ended. Raises what reading it raises."""
        if self._stopped:
            raise stopping()
        key = (tenant, job)
        poll = self._polls.get(key)
        if poll is None:
            poll = self._polls[key] = _Poll()
            poll.task = asyncio.create_task(self._run(key, poll), name=f"watch {job}")
        poll.watchers += 1
        try:
            async for state in _states(poll):
                yield state
        finally:
            poll.watchers -= 1
            if poll.watchers == 0:
                self._drop(key, poll)

    def look_now(self, tenant: str, job: str) -> None:
        """Something about the job has changed: whoever watches it need not wait for the next regular look."""
        poll = self._polls.get((tenant, job))
        if poll is not None:
            poll.due.set()

    async def stop(self) -> None:
        """Ends all watches with UNAVAILABLE, and takes no new ones."""
        self._stopped = True
        for key, poll in list(self._polls.items()):
            poll.ended = poll.ended or stopping()
            poll.notify()
            self._drop(key, poll)
        await asyncio.sleep(0)

    async def _run(self, key: tuple[str, str], poll: _Poll) -> None:
        while poll.ended is None:
            poll.due.clear()
            try:
                state = await self._read(*key)
            except Exception as error:  # noqa: BLE001 (every watcher gets it)
                poll.ended = error
            else:
                if state is not poll.latest and state != poll.latest:
                    poll.latest, poll.version = state, poll.version + 1
                    poll.notify()
                if is_terminal(state.state):
                    poll.ended = StopAsyncIteration()
            if poll.ended is not None:
                if self._polls.get(key) is poll:  # who comes now starts a new poll
                    del self._polls[key]
                poll.notify()
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(self._interval, len(self._polls) / READS_PER_S)):
                        await poll.due.wait()

    def _drop(self, key: tuple[str, str], poll: _Poll) -> None:
        if self._polls.get(key) is poll:
            del self._polls[key]
        if poll.task is not None:
            poll.task.cancel()


async def _states(poll: _Poll) -> AsyncIterator[v1.TrainingJob]:
    """Each state that is new to this watcher."""
    seen = 0
    while True:
        if poll.latest is not None and poll.version > seen:
            seen = poll.version
            yield poll.latest
        elif poll.ended is not None:
            if isinstance(poll.ended, StopAsyncIteration):
                return
            raise poll.ended
        else:
            await poll.changed.wait()
