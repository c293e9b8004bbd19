"""What is known of a job → the one thing to do about it now. Pure; this is where a job's life is decided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from loramill import v1
from service.causes import cause_of, causes_of
from service.outcome import decide_outcome
from service.retry import LaunchAgain, decide_retry
from service.times import to_datetime

if TYPE_CHECKING:
    from service.causes import Cause
    from service.facts import JobFacts, LaunchFacts
    from service.retry import RetryPolicy
    from service.verification import CommittedAdapter

LINGER = timedelta(seconds=30)
"""How long a trainer may take to be gone after its last word."""


@dataclass(frozen=True)
class Observation:
    """Facts with executions, and the final adapters, verified where somebody may need to know."""

    facts: JobFacts
    finals: tuple[CommittedAdapter, ...] = ()


@dataclass(frozen=True)
class Situation:
    """What a decision depends on besides the job itself."""

    now: datetime
    admitted: bool
    """Whether the job may take a place if it has none."""
    policy: RetryPolicy
    watched_since: datetime


@dataclass(frozen=True)
class Wait:
    """Nothing to do until something changes, or until then."""

    until: datetime | None = None


@dataclass(frozen=True)
class Launch:
    """Record this launch, then start it. One that is recorded is only started."""

    number: int


@dataclass(frozen=True)
class Stop:
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Record:
    outcome: v1.Outcome


@dataclass(frozen=True)
class Finish:
    """Put the ended job into the indexes; once nothing works for it any more, take it from the living."""

    outcome: v1.Outcome
    stop: tuple[int, ...]
    """Launches that must be stopped first."""


@dataclass(frozen=True)
class Withdraw:
    """Take the deleted job from the indexes."""


Action = Wait | Launch | Stop | Record | Finish | Withdraw


def is_over(facts: JobFacts, now: datetime, watched_since: datetime) -> bool:
    """Whether no trainer works for the job, or may still begin to, so that its outcome can be asked for."""
    newest = facts.newest
    return newest is None or cause_of(newest, now, watched_since) is not None or not newest.alive


def decide(observation: Observation, situation: Situation) -> Action:
    facts, now = observation.facts, situation.now
    # Deleted: nothing is left to drive.
    if facts.tombstone is not None:
        return Withdraw()
    # Ended: what still works for it has no purpose any more.
    if facts.outcome is not None:
        return Finish(facts.outcome, _without_purpose(facts.launches, now))
    # A later launch has taken over.
    zombies = _without_purpose(facts.launches[:-1], now)
    if zombies:
        return Stop(zombies)
    # A trainer works.
    newest = facts.newest
    if newest is not None and not is_over(facts, now, situation.watched_since):
        return Stop((newest.number,)) if facts.cancel is not None else Wait()
    # None does. Is that the end of the job?
    causes = causes_of(facts.launches, now, situation.watched_since)
    all_over = len(causes) == len(facts.launches)
    outcome = decide_outcome(facts, observation.finals, causes if all_over else (), situation.policy, now)
    if outcome is not None:
        return Record(outcome)
    # No: then one must be launched.
    if newest is None:
        return Launch(1) if situation.admitted else Wait()
    # Recorded but neither started nor given up: whoever recorded it died in between. Starting it twice does nothing.
    if not all_over:
        return Launch(newest.number)
    return _launch_again(newest, causes, situation)


def _launch_again(newest: LaunchFacts, causes: tuple[Cause, ...], situation: Situation) -> Action:
    if newest.suspended:
        return Wait()
    lingering = _without_purpose((newest,), situation.now)
    if lingering or newest.alive:
        return Stop(lingering) if lingering else Wait()
    retry = decide_retry(causes, situation.policy)
    if isinstance(retry, LaunchAgain) and retry.not_before > situation.now:
        return Wait(retry.not_before)
    return Launch(newest.number + 1)


def _without_purpose(launches: tuple[LaunchFacts, ...], now: datetime) -> tuple[int, ...]:
    """Launches that still work although nobody needs them: they go on, or have ended and do not go."""
    return tuple(launch.number for launch in launches if launch.alive and _may_be_stopped(launch, now))


def _may_be_stopped(launch: LaunchFacts, now: datetime) -> bool:
    """Not while it is on its way out; one that the cluster's queue holds back after its end would come for nothing."""
    if launch.end is None or now - to_datetime(launch.end.create_time) > LINGER:
        return True
    return launch.execution is not None and launch.execution.reason == v1.STATE_REASON_SUSPENDED
