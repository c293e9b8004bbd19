"""Facts, what was verified of them, and the end of the newest launch → the job's outcome, or not yet. Pure.

Success is a whole final adapter, or whole results of a job of another kind, and nothing else: no exit code, no phase.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loramill import v1
from service.retry import GiveUp, decide_retry
from service.times import to_timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from service.causes import Cause
    from service.facts import JobFacts
    from service.retry import RetryPolicy
    from service.verification import Deliverable


def decide_outcome(
    facts: JobFacts, finals: Sequence[Deliverable], causes: Sequence[Cause], policy: RetryPolicy, now: datetime
) -> v1.Outcome | None:
    """How the job ended, given that no trainer works for it; None if it shall be launched (again).

    `finals` are its final adapters and results, newest run first; `causes` how its launches ended, oldest first.
    """
    whole = next((final for final in finals if final.whole and not final.partial), None)
    if whole is not None:
        return _outcome(v1.TRAINING_JOB_STATE_SUCCEEDED, v1.STATE_REASON_COMPLETED, whole.told, now)
    if facts.cancel is not None:
        message = _cancelled(finals)
        return _outcome(v1.TRAINING_JOB_STATE_CANCELLED, v1.STATE_REASON_CANCELLED_BY_USER, message, now)
    retry = decide_retry(causes, policy) if causes else None
    if isinstance(retry, GiveUp):
        message = " ".join([*_damages(finals), retry.message])
        return _outcome(v1.TRAINING_JOB_STATE_FAILED, retry.reason, message, now)
    return None


def _outcome(
    state: v1.TrainingJobState.ValueType, reason: v1.StateReason.ValueType, message: str, now: datetime
) -> v1.Outcome:
    return v1.Outcome(schema_version=1, state=state, reason=reason, message=message, create_time=to_timestamp(now))


def _cancelled(finals: Sequence[Deliverable]) -> str:
    partial = next((final for final in finals if final.whole), None)
    return f"Was cancelled {partial.told}" if partial is not None else "Was cancelled before anything was saved."


def _damages(finals: Sequence[Deliverable]) -> list[str]:
    return [final.damage for final in finals[:1] if not final.whole]
