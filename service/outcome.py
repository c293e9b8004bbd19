"""Facts, verified adapters and the end of the newest launch → the job's outcome, or not yet. Pure.

Success is a whole final adapter and nothing else: no exit code, no last word, no phase.
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
    from service.verification import CommittedAdapter


def decide_outcome(
    facts: JobFacts, finals: Sequence[CommittedAdapter], causes: Sequence[Cause], policy: RetryPolicy, now: datetime
) -> v1.Outcome | None:
    """How the job ended, given that no trainer works for it; None if it shall be launched (again).

    `finals` are its final adapters, newest run first; `causes` how its launches ended, oldest first.
    """
    whole = next((final for final in finals if final.whole and not final.adapter.partial), None)
    if whole is not None:
        message = f"{_steps(whole.adapter)} of training are done; the adapter is {whole.adapter.name}."
        return _outcome(v1.TRAINING_JOB_STATE_SUCCEEDED, v1.STATE_REASON_COMPLETED, message, now)
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


def _cancelled(finals: Sequence[CommittedAdapter]) -> str:
    partial = next((final.adapter for final in finals if final.whole), None)
    if partial is None:
        return "Was cancelled before an adapter was saved."
    return f"Was cancelled after {_steps(partial)}; what was learnt until then is {partial.name}."


def _damages(finals: Sequence[CommittedAdapter]) -> list[str]:
    return [
        f"The final adapter of launch {final.launch} is not whole: {final.problem}"
        for final in finals[:1]
        if not final.whole
    ]


def _steps(adapter: v1.Adapter) -> str:
    return "1 step" if adapter.step == 1 else f"{adapter.step} steps"
