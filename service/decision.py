"""What is known of a job → the one thing to do about it now. Pure; this is where a job's life is decided."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from loramill import v1
from service.capacity import end_for_want
from service.causes import cause_of, causes_of
from service.outcome import decide_outcome
from service.restored import lost_outcome
from service.retry import LaunchAgain, decide_retry
from service.times import to_datetime, to_timestamp

if TYPE_CHECKING:
    from service.causes import Cause
    from service.executors import Execution
    from service.facts import JobFacts, LaunchFacts
    from service.retry import RetryPolicy
    from service.verification import Deliverable

LINGER = timedelta(seconds=30)
"""How long a trainer may take to be gone after its last word."""


@dataclass(frozen=True)
class Observation:
    """Facts with executions, and what the job is for, verified where somebody may need to know."""

    facts: JobFacts
    finals: tuple[Deliverable, ...] = ()
    stray: Execution | None = None
    """What the executor knows of the launch after the newest one, where the store may be an older copy; else it is not asked."""
    leads_elsewhere: bool = False
    """Whether the newest launch was recorded when all of this lay in another place: a trainer would work there."""


@dataclass(frozen=True)
class Situation:
    """What a decision depends on besides the job itself."""

    now: datetime
    admitted: bool
    """Whether the job may take a place if it has none."""
    policy: RetryPolicy
    watched_since: datetime
    compute_class: str | None = ""
    """Which the next launch gets; None where none that the job may have takes one now."""
    emptied: str = ""
    """Why trainers on the class of the newest launch are told to end; empty where they are not."""
    restored: bool = False
    """Whether the store may be an older copy of itself: what seems to be missing may have happened."""


@dataclass(frozen=True)
class Wait:
    """Nothing to do until something changes, or until then."""

    until: datetime | None = None


@dataclass(frozen=True)
class Launch:
    """Record this launch, then start it. One that is recorded is only started."""

    number: int
    compute_class: str = ""
    """Which it gets, if it is to be recorded; empty in local mode."""


@dataclass(frozen=True)
class EndLaunch:
    """Record that this launch is over, whatever its trainer does; it is stopped next."""

    number: int
    end: v1.LaunchEnd


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


Action = Wait | Launch | EndLaunch | Stop | Record | Finish | Withdraw


def is_over(facts: JobFacts, now: datetime, watched_since: datetime) -> bool:
    """Whether no trainer works for the job, or may still begin to, so that its outcome can be asked for."""
    newest = facts.newest
    return newest is None or cause_of(newest, now, watched_since) is not None or not newest.alive


def decide(observation: Observation, situation: Situation) -> Action:
    action = _decide(observation, situation)
    # What was given up is told to stop for as long as it is seen, and nothing waits for it.
    zombies = tuple(launch.number for launch in observation.facts.launches if launch.is_zombie)
    if zombies and isinstance(action, Finish):
        return replace(action, stop=action.stop + zombies)
    return Stop(zombies) if zombies and isinstance(action, Wait) else action


def _decide(observation: Observation, situation: Situation) -> Action:
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
        return Stop((newest.number,)) if facts.cancel is not None else _let_work(newest, facts, situation)
    # None does. Is that the end of the job?
    causes = causes_of(facts.launches, now, situation.watched_since)
    all_over = len(causes) == len(facts.launches)
    outcome = decide_outcome(facts, observation.finals, causes if all_over else (), situation.policy, now)
    if outcome is None and newest is not None and not all_over and observation.leads_elsewhere:
        return EndLaunch(newest.number, _end_elsewhere(newest, now))
    if situation.restored and (outcome is None or outcome.state == v1.TRAINING_JOB_STATE_FAILED):
        # Only what its trainer's end proves; all else waits for an operator.
        lost = lost_outcome(facts, observation.stray, now)
        return Record(lost) if lost is not None else Wait()
    if outcome is not None:
        return Record(outcome)
    # No: then one must be launched.
    if newest is None:
        return Launch(1, situation.compute_class or "") if situation.admitted else Wait()
    # Recorded but neither started nor given up: whoever recorded it died in between. Starting it twice does nothing.
    if not all_over:
        action = _let_work(newest, facts, situation)
        return action if isinstance(action, EndLaunch) else Launch(newest.number)
    return _launch_again(newest, causes, situation)


def _let_work(newest: LaunchFacts, facts: JobFacts, situation: Situation) -> Action:
    """The newest launch goes on, unless its class is emptied, or has given it no machine for too long."""
    if newest.seen_end is not None or situation.restored:
        return Wait()
    if situation.emptied:
        end = v1.LaunchEnd(
            schema_version=1,
            reason=v1.STATE_REASON_PREEMPTED,
            message=situation.emptied,
            create_time=to_timestamp(situation.now),
        )
        return EndLaunch(newest.number, end)
    want = end_for_want(facts, situation.now)
    return EndLaunch(newest.number, want) if want is not None else Wait()


def _end_elsewhere(newest: LaunchFacts, now: datetime) -> v1.LaunchEnd:
    return v1.LaunchEnd(
        schema_version=1,
        reason=v1.STATE_REASON_PREEMPTED,
        message=f"The store was moved after launch {newest.number} was recorded, which never began here.",
        create_time=to_timestamp(now),
    )


def _launch_again(newest: LaunchFacts, causes: tuple[Cause, ...], situation: Situation) -> Action:
    if newest.suspended and newest.seen_end is None:
        return Wait()
    lingering = _without_purpose((newest,), situation.now)
    if lingering or newest.alive:
        return Stop(lingering) if lingering else Wait()
    retry = decide_retry(causes, situation.policy)
    if isinstance(retry, LaunchAgain) and retry.not_before > situation.now:
        return Wait(retry.not_before)
    if situation.compute_class is None:
        return Wait()
    return Launch(newest.number + 1, situation.compute_class)


def _without_purpose(launches: tuple[LaunchFacts, ...], now: datetime) -> tuple[int, ...]:
    """Launches that still work although nobody needs them: they go on, or have ended and do not go."""
    return tuple(launch.number for launch in launches if launch.alive and _may_be_stopped(launch, now))


def _may_be_stopped(launch: LaunchFacts, now: datetime) -> bool:
    """Not while it is on its way out; one that the cluster's queue holds back after its end would come for nothing."""
    if launch.end is None or now - to_datetime(launch.end.create_time) > LINGER:
        return True
    return launch.execution is not None and launch.execution.reason == v1.STATE_REASON_SUSPENDED
