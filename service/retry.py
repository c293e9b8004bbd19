"""The one retry policy: causes of the launches so far → launch again, and when, or give up. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from service.causes import Retry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loramill import v1
    from service.causes import Cause


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often, and how soon, a job is launched again."""

    failures: int = 3
    """Failed launches after which the job has failed. Ends that are nobody's fault do not count."""
    first_delay: timedelta = timedelta(seconds=1)
    """Between the first failure and the next launch; also after an end that does not count."""
    factor: float = 4.0
    """By which each further failure lengthens the delay."""
    longest_delay: timedelta = timedelta(minutes=5)


@dataclass(frozen=True)
class LaunchAgain:
    not_before: datetime
    cause: Cause
    """Why the newest launch ended."""


@dataclass(frozen=True)
class GiveUp:
    reason: v1.StateReason.ValueType
    message: str


def decide_retry(causes: Sequence[Cause], policy: RetryPolicy) -> LaunchAgain | GiveUp:
    """What follows from how the launches so far ended, oldest first; at least one."""
    newest = causes[-1]
    failures = sum(cause.retry is Retry.COUNTED for cause in causes)
    if newest.retry is Retry.NEVER:
        return GiveUp(newest.reason, newest.message)
    if newest.retry is Retry.FREE:
        return LaunchAgain(newest.time + policy.first_delay, newest)
    if failures >= policy.failures:
        return GiveUp(newest.reason, f"{newest.message} {_given_up(failures)}")
    return LaunchAgain(newest.time + _delay(failures, policy), newest)


def _delay(failures: int, policy: RetryPolicy) -> timedelta:
    # The exponent is capped so that no number of failures can overflow.
    seconds = policy.first_delay.total_seconds() * policy.factor ** min(failures - 1, 30)
    return timedelta(seconds=min(seconds, policy.longest_delay.total_seconds()))


def _given_up(failures: int) -> str:
    return "It was not launched again." if failures == 1 else f"This was failure {failures}; it was not launched again."
