"""What the reconciler asks of whatever runs trainers: subprocesses on this machine, or Jobs of a cluster.

An executor knows one thing: a launch, named by (tenant, job, number). It decides nothing; why a launch ended and what
follows from it is read from the record.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from loramill import v1

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class ExecutorError(Exception):
    """The executor could not do what was asked. The message names the launch and what is the case."""


class ExecutionState(enum.Enum):
    ABSENT = "absent"
    """The executor has never heard of this launch, or has forgotten it."""
    PENDING = "pending"
    """It is being started; no trainer works yet."""
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True)
class Execution:
    """What the executor knows of one launch at this moment."""

    state: ExecutionState
    exit_code: int | None = None
    """As in the table of run.proto, 128 + n for signal n. None unless EXITED, and where nobody saw the end."""
    message: str = ""
    """One sentence for people on what the executor saw; empty if nothing is to be said."""
    end_time: datetime | None = None
    """When the trainer was known to be gone; None unless EXITED."""
    reason: v1.StateReason.ValueType = v1.STATE_REASON_UNSPECIFIED
    """Why it does not run yet (PENDING), or what from outside ended it (EXITED); UNSPECIFIED where nothing special is known."""
    suspended: bool = False
    """Whether it is PENDING because somebody has suspended it: it begins when they let it, and not before."""
    scheduled_time: datetime | None = None
    """When it was given a machine; None unless known."""
    started_time: datetime | None = None
    """When its process began to run; None unless known."""
    node: str = ""
    """Name of its machine; empty unless known."""

    @property
    def alive(self) -> bool:
        """Whether a trainer works, or may begin to at any moment."""
        return self.state in (ExecutionState.PENDING, ExecutionState.RUNNING)


ABSENT = Execution(ExecutionState.ABSENT)


@dataclass(frozen=True)
class KnownLaunch:
    """A launch that an executor has something of."""

    tenant: str
    job: str
    number: int
    begun: datetime
    """When it was told to start it."""


class Executor(Protocol):
    """Synchronous and thread-safe; the service calls it in threads. Every method may raise ExecutorError."""

    def launch(self, tenant: str, job: str, number: int, assignment: v1.Assignment, assignment_uri: str) -> None:
        """Starts the trainer for this assignment, which it will read at that URI.

        The same launch again does nothing, whoever asked first.
        """
        ...

    def observe(self, tenant: str, job: str, number: int) -> Execution: ...

    def known(self) -> Sequence[KnownLaunch]:
        """All launches that it has something of now, ended or not, without asking anybody; never one that nobody launched."""
        ...

    def stop(self, tenant: str, job: str, number: int) -> None:
        """Asks the trainer to end (SIGTERM) and returns at once. Called again after the grace time, it kills it.

        A launch that is absent or has exited is left as it is.
        """
        ...

    def forget(self, tenant: str, job: str, number: int) -> None:
        """Removes all that the executor keeps of a launch that has exited, its log included.

        For deleted jobs only: what has been forgotten would be started again.
        """
        ...

    def read_log(self, tenant: str, job: str, number: int, offset: int) -> bytes | None:
        """What the trainer wrote on stdout and stderr from byte `offset` on, at most 1 MiB of it.

        Empty at the present end; None if there is no log of this launch.
        """
        ...
