"""Facts of a launch → how it ended, and what kind of end that is for the retry policy. Pure.

A run's own last word goes before what the executor saw; the exit code is a hint for a run that had no last word.
"""

from __future__ import annotations

import enum
import signal
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from loramill import v1
from service.executors import ExecutionState
from service.times import to_datetime, to_timestamp

if TYPE_CHECKING:
    from service.executors import Execution
    from service.facts import LaunchFacts

CLAIM_LIMIT = timedelta(seconds=120)
"""How long a launch may remain unstarted, or a run without a sign of life while another process holds it."""


class Retry(enum.Enum):
    """What the retry policy makes of an end."""

    NEVER = "never"
    """It would end the same way again."""
    COUNTED = "counted"
    """Launched again, a few times."""
    FREE = "free"
    """Launched again as often as it happens."""


_FROM_OUTSIDE: dict[v1.StateReason.ValueType, Retry] = {
    v1.STATE_REASON_PREEMPTED: Retry.FREE,
    v1.STATE_REASON_NODE_LOST: Retry.FREE,
    # Most pods are driven out for what they use themselves, and would be again.
    v1.STATE_REASON_EVICTED: Retry.COUNTED,
    v1.STATE_REASON_NO_CAPACITY: Retry.FREE,
    v1.STATE_REASON_GIVEN_UP: Retry.FREE,
    v1.STATE_REASON_OUT_OF_MEMORY: Retry.NEVER,
    v1.STATE_REASON_DEADLINE_EXCEEDED: Retry.NEVER,
}
"""What ends a trainer that has not said a word itself, as the executor tells it."""


@dataclass(frozen=True)
class Cause:
    """How a launch ended."""

    reason: v1.StateReason.ValueType
    retry: Retry
    message: str
    """One sentence."""
    time: datetime


@dataclass(frozen=True)
class _Kind:
    reason: v1.StateReason.ValueType
    retry: Retry
    sentence: str
    """For a run that left none of its own."""


_SIGNALLED = 128
_CRASHED = _Kind(v1.STATE_REASON_CRASHED, Retry.COUNTED, "The trainer died without a word; its log may say why.")
_BUG = _Kind(v1.STATE_REASON_INTERNAL, Retry.COUNTED, "The trainer failed on an error of its own; its log says where.")

_KINDS: dict[int, _Kind] = {
    v1.EXIT_CODE_SUCCESS: _Kind(
        v1.STATE_REASON_INTERNAL,
        Retry.COUNTED,
        "The trainer reported success, but what it should have made is not whole.",
    ),
    v1.EXIT_CODE_BUG: _BUG,
    v1.EXIT_CODE_USER_ERROR: _Kind(
        v1.STATE_REASON_USER_ERROR,
        Retry.NEVER,
        "The data or the spec cannot be trained on; the trainer's log names what.",
    ),
    v1.EXIT_CODE_OUT_OF_MEMORY: _Kind(
        v1.STATE_REASON_OUT_OF_MEMORY,
        Retry.NEVER,
        "Memory did not suffice; lower the batch size, the resolution or the rank.",
    ),
    v1.EXIT_CODE_DIVERGED: _Kind(
        v1.STATE_REASON_DIVERGED,
        Retry.NEVER,
        "The loss became infinite or not a number; lower the learning rate, or look at the data.",
    ),
    v1.EXIT_CODE_STALLED: _Kind(v1.STATE_REASON_STALLED, Retry.COUNTED, "The trainer stopped making progress."),
    v1.EXIT_CODE_PREEMPTED: _Kind(
        v1.STATE_REASON_PREEMPTED, Retry.FREE, "The trainer was asked to make room and saved a checkpoint."
    ),
    v1.EXIT_CODE_STORAGE: _Kind(
        v1.STATE_REASON_STORAGE,
        Retry.COUNTED,
        "The trainer could not use the object store; see that it is reachable and not full.",
    ),
    v1.EXIT_CODE_DEADLINE_EXCEEDED: _Kind(
        v1.STATE_REASON_DEADLINE_EXCEEDED,
        Retry.NEVER,
        "The deadline for training passed; raise `deadline`, or train fewer steps.",
    ),
    v1.EXIT_CODE_SUPERSEDED: _Kind(
        v1.STATE_REASON_CRASHED, Retry.COUNTED, "Another process held this launch and gave no further sign of life."
    ),
    v1.EXIT_CODE_OUTDATED: _Kind(
        v1.STATE_REASON_OUTDATED_TRAINER,
        Retry.NEVER,
        "The trainer is of an older version than the job needs; have the operator upgrade the trainers' image.",
    ),
    v1.EXIT_CODE_CANCELLED: _Kind(
        v1.STATE_REASON_INTERNAL, Retry.COUNTED, "The trainer stopped for a cancellation that nobody had asked for."
    ),
}

REASONS = frozenset({kind.reason for kind in (*_KINDS.values(), _CRASHED)} | set(_FROM_OUTSIDE))
"""All that a Cause can have."""


def cause_of(launch: LaunchFacts, now: datetime, watched_since: datetime | None = None) -> Cause | None:
    """How a launch ended; None while it works, may begin to work, or where the executor was not asked.

    `watched_since` is when the caller began to start launches: what was recorded before gets its full time from there.
    """
    word = own_word(launch)
    if word is not None:
        return _cause(word.exit_code, word.message, to_datetime(word.create_time))
    if launch.seen_end is not None:
        return _seen_cause(launch, launch.seen_end)
    execution = launch.execution
    if execution is None or execution.alive:
        return None
    if execution.state is ExecutionState.EXITED:
        if execution.exit_code == v1.EXIT_CODE_SUPERSEDED and now - _last_sign(launch) < CLAIM_LIMIT:
            return None
        return _seen_cause(launch, end_seen_of(execution, _last_sign(launch)))
    if launch.claim is not None:
        return _cause(None, "The trainer began to work and then nothing was known of it any more.", _last_sign(launch))
    if execution.reason != v1.STATE_REASON_UNSPECIFIED:
        return None  # the executor knows why it does not begin, and goes on trying
    recorded = to_datetime(launch.assignment.create_time)
    limit = max(recorded, watched_since or recorded) + CLAIM_LIMIT
    if now < limit:
        return None
    return _cause(None, f"The trainer could not be started within {CLAIM_LIMIT.total_seconds():.0f} seconds.", limit)


def own_word(launch: LaunchFacts) -> v1.End | None:
    """The run's last word, if it tells how the launch ended: not where an operator had given it up before, nor where it stopped
    in good order because its node drove it out, which the run itself cannot know."""
    if launch.end is None or launch.given_up:
        return None
    seen = launch.seen_end or launch.execution
    evicted = seen is not None and seen.reason == v1.STATE_REASON_EVICTED
    return None if evicted and launch.end.exit_code == v1.EXIT_CODE_PREEMPTED else launch.end


def causes_of(
    launches: tuple[LaunchFacts, ...], now: datetime, watched_since: datetime | None = None
) -> tuple[Cause, ...]:
    """How each launch that is over ended. All but the newest are: a later launch is recorded only then."""
    newest = launches[-1:]
    causes = [cause_of(launch, now, watched_since) or _cause(None, "", _last_sign(launch)) for launch in launches[:-1]]
    causes += [cause for launch in newest if (cause := cause_of(launch, now, watched_since)) is not None]
    return tuple(causes)


def describe_exit(exit_code: int | None) -> str:
    """One sentence on an exit code that came without words."""
    if exit_code is None:
        return _CRASHED.sentence
    if exit_code > _SIGNALLED:
        return _describe_signal(exit_code - _SIGNALLED)
    if exit_code in _KINDS:
        return _KINDS[exit_code].sentence
    return f"The trainer ended with the unknown exit code {exit_code}; its log may say why."


def _cause(exit_code: int | None, message: str, time: datetime) -> Cause:
    kind = _CRASHED if exit_code is None or exit_code > _SIGNALLED else _KINDS.get(exit_code, _BUG)
    if exit_code == v1.EXIT_CODE_SUCCESS:
        message = ""  # tells of success; where this is asked, there was none
    return Cause(kind.reason, kind.retry, message or describe_exit(exit_code), time)


def end_seen_of(execution: Execution, time: datetime) -> v1.LaunchEnd:
    """What the record keeps of the execution of a launch that is over; `time` stands for an unknown end."""
    end = v1.LaunchEnd(
        schema_version=1,
        reason=execution.reason,
        message=execution.message,
        create_time=to_timestamp(execution.end_time or time),
    )
    if execution.exit_code is not None:
        end.exit_code = execution.exit_code
    return end


def _seen_cause(launch: LaunchFacts, end: v1.LaunchEnd) -> Cause:
    exit_code = end.exit_code if end.HasField("exit_code") else None
    cause = _cause(exit_code, end.message, to_datetime(end.create_time))
    retry = _FROM_OUTSIDE.get(end.reason)
    if retry is None:
        return cause
    if end.reason == v1.STATE_REASON_DEADLINE_EXCEEDED and launch.claim is None:
        retry = Retry.FREE  # of waiting there may be any amount; the deadline is for training
    return replace(cause, reason=end.reason, retry=retry)


def _describe_signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGKILL:
        return "The trainer was killed (SIGKILL); if nobody did it, the machine ran out of memory."
    return f"The trainer died of {name}; its log may say why."


def _last_sign(launch: LaunchFacts) -> datetime:
    """The last time at which the run is known to have worked, or else at which it was recorded."""
    if launch.status is not None and launch.status.progress.HasField("update_time"):
        return to_datetime(launch.status.progress.update_time)
    if launch.claim is not None:
        return to_datetime(launch.claim.create_time)
    return to_datetime(launch.assignment.create_time)
