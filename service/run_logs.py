"""A launch's log, line by line: live from the executor where it still has it, else from the chunks that the run stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from service.errors import ResourceNotFound, invalid
from service.executors import Executor
from service.facts import JobFacts, with_executions
from service.jobs import Jobs
from service.keys import TenantKeys, job_name
from service.watch import stopping
from store.object_store import ObjectStore

_LONGEST_LINE = 1 << 20
"""Bytes; a longer line is sent in parts."""


class Lines:
    """Bytes in, whole lines out."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, content: bytes) -> list[str]:
        *lines, self._rest = (self._rest + content).split(b"\n")
        while len(self._rest) > _LONGEST_LINE:
            lines.append(self._rest[:_LONGEST_LINE])
            self._rest = self._rest[_LONGEST_LINE:]
        return [line.decode(errors="replace") for line in lines]

    def rest(self) -> list[str]:
        """What stands behind the last line's end."""
        return [self._rest.decode(errors="replace")] if self._rest else []


@dataclass(frozen=True)
class RunLogs:
    """The logs of all launches."""

    store: ObjectStore
    executor: Executor
    jobs: Jobs
    interval: float
    """Seconds between two looks when following."""
    stop: asyncio.Event
    """Set when the service stops."""

    async def stream(self, tenant: str, job: str, launch: int, follow: bool) -> AsyncGenerator[str]:
        """Lines of one launch, 0 for the newest. With `follow` until the launch has ended.

        Raises ResourceNotFound for a job or launch that does not exist, NotAvailable when the service stops.
        """
        if launch < 0:
            raise invalid("launch", f"launch is {launch}, but must be 0 for the newest, or its number from 1.")
        facts = await self._facts(tenant, job)
        while launch == 0 and not facts.launches and follow and facts.outcome is None:
            await self._wait()
            facts = await self._facts(tenant, job)
        number = launch or len(facts.launches)
        if number > len(facts.launches):
            raise ResourceNotFound(
                f"{job_name(job)} has no launch {number}; it has {len(facts.launches)}. "
                "Ask for one of them, or for 0, the newest."
            )
        if number == 0:
            return
        async for line in self._lines(tenant, job, number, follow):
            yield line

    async def _lines(self, tenant: str, job: str, number: int, follow: bool) -> AsyncGenerator[str]:
        source = _Source(self.store, self.executor, tenant, job, number)
        lines = Lines()
        while True:
            # Looked at before reading: what was written before the end is then read too.
            over = not follow or await self._is_over(tenant, job, number)
            while content := await asyncio.to_thread(source.read):
                for line in lines.take(content):
                    yield line
            if over:
                break
            await self._wait()
        for line in lines.rest():
            yield line

    async def _facts(self, tenant: str, job: str) -> JobFacts:
        return await asyncio.to_thread(self.jobs.facts, tenant, job)

    async def _is_over(self, tenant: str, job: str, number: int) -> bool:
        def look() -> bool:
            facts = with_executions(self.jobs.facts(tenant, job), self.executor)
            return facts.outcome is not None or number < len(facts.launches) or not _works(facts, number)

        return await asyncio.to_thread(look)

    async def _wait(self) -> None:
        try:
            await asyncio.wait_for(self.stop.wait(), self.interval)
        except TimeoutError:
            return
        raise stopping()


def _works(facts: JobFacts, number: int) -> bool:
    """Whether more may be written. Between the record of a launch and its start the executor does not know it yet."""
    launch = facts.launches[number - 1]
    if launch.execution is None or launch.end is not None:
        return launch.alive
    return launch.alive or (launch.execution.exit_code is None and launch.execution.end_time is None)


class _Source:
    """The next bytes of one launch's log: live while the executor has it, from then on what the run has stored."""

    def __init__(self, store: ObjectStore, executor: Executor, tenant: str, job: str, number: int) -> None:
        self._store, self._executor = store, executor
        self._launch = (tenant, job, number)
        self._prefix = TenantKeys(tenant).job(job).run(number).logs_prefix
        self._offset = 0
        self._tail = b""
        """What was read live last: a whole line at least, and what stands behind it."""
        self._chunk = ""

    def read(self) -> bytes:
        """Empty at the present end."""
        if not self._chunk:
            content = self._executor.read_log(*self._launch, self._offset)
            if content is not None:
                self._offset += len(content)
                self._tail = _last_line(self._tail + content)
                return content
            if self._offset:
                return self._stored_behind_tail()
        return self._stored()

    def _stored(self) -> bytes:
        """The next stored chunk."""
        for entry in self._store.list(self._prefix, self._chunk):
            self._chunk = entry.key
            return self._store.get(entry.key)
        return b""

    def _stored_behind_tail(self) -> bytes:
        """What is stored behind what was read live. Chunks hold whole lines, which carry times: none is like another."""
        whole, _, begun = self._tail.rpartition(b"\n")
        if not whole:
            return self._stored().removeprefix(begun)
        for entry in self._store.list(self._prefix):
            _, found, behind = self._store.get(entry.key).partition(whole + b"\n")
            if found:
                self._chunk = entry.key
                return (behind or self._stored()).removeprefix(begun)
        return b""


def _last_line(content: bytes) -> bytes:
    """From the beginning of the last whole line on."""
    begin = content.rfind(b"\n", 0, max(0, content.rfind(b"\n"))) + 1
    return content[begin:][-_LONGEST_LINE:]
