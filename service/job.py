"""Facts of a job → the job as callers see it: state, one reason, and one sentence that a person can act on. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loramill import v1
from service.capacity import want_of_capacity
from service.causes import cause_of, causes_of, describe_exit, end_seen_of, own_word
from service.executors import ABSENT, ExecutionState
from service.keys import job_name
from service.launch_choice import further_plan, plan_of
from service.retry import GiveUp, RetryPolicy, decide_retry
from service.start_phases import start_phases

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from service.facts import JobFacts, LaunchFacts
    from service.retry import LaunchAgain

_TERMINAL = frozenset({v1.TRAINING_JOB_STATE_SUCCEEDED, v1.TRAINING_JOB_STATE_FAILED, v1.TRAINING_JOB_STATE_CANCELLED})

_PHASES: dict[v1.Phase.ValueType, tuple[v1.StateReason.ValueType, str]] = {
    v1.PHASE_UNSPECIFIED: (v1.STATE_REASON_PREPARING, "The trainer has begun to work."),
    v1.PHASE_CHECKING_DATA: (v1.STATE_REASON_PREPARING, "The dataset is being read and checked."),
    v1.PHASE_LOADING_MODEL: (v1.STATE_REASON_PREPARING, "The base model is being loaded."),
    v1.PHASE_ENCODING: (v1.STATE_REASON_PREPARING, "Pictures and captions are being encoded."),
    v1.PHASE_TRAINING: (v1.STATE_REASON_TRAINING, "The adapter is being trained."),
    v1.PHASE_PREVIEWING: (v1.STATE_REASON_TRAINING, "Previews are being made."),
    v1.PHASE_SAVING: (v1.STATE_REASON_SAVING, "Adapter, pictures and report are being written."),
    v1.PHASE_ENDED: (v1.STATE_REASON_SAVING, "The trainer has done its work and is ending."),
    v1.PHASE_EXAMINING: (v1.STATE_REASON_EXAMINING, "A model is asked about the dataset."),
}

_DISRUPTIONS = frozenset(
    {
        v1.STATE_REASON_PREEMPTED,
        v1.STATE_REASON_NODE_LOST,
        v1.STATE_REASON_EVICTED,
        v1.STATE_REASON_NO_CAPACITY,
        v1.STATE_REASON_GIVEN_UP,
    }
)
"""Ends that say more about a job between two launches than that it waits a while."""

_RELAUNCH_REASONS = _DISRUPTIONS | {v1.STATE_REASON_STORAGE, v1.STATE_REASON_CRASHED}
"""Those that explain a launch under way by the end of the one before."""


@dataclass(frozen=True)
class Standing:
    """Where a job stands."""

    state: v1.TrainingJobState.ValueType
    reason: v1.StateReason.ValueType
    message: str


def is_terminal(state: v1.TrainingJobState.ValueType) -> bool:
    return state in _TERMINAL


def training_job(
    facts: JobFacts, now: datetime, queue_position: int | None = None, held_back: str = ""
) -> v1.TrainingJob:
    """The job as callers see it. `queue_position` counts from 1, the next to start; None if it is not known. `held_back` says why
    no launch of it begins.

    Without executions in the facts, the state follows from the record alone: a trainer that died without a word then
    shows as working until its next launch or the outcome is recorded.
    """
    standing = standing_of(facts, now, queue_position, held_back)
    job = v1.TrainingJob(
        name=job_name(facts.job),
        spec=facts.create.spec,
        state=standing.state,
        state_reason=standing.reason,
        state_message=standing.message,
        create_time=facts.create.create_time,
        launches=[_summary(facts, launch) for launch in facts.launches],
        adapters=_adapter_names(facts.launches),
        warnings=facts.create.warnings,
        kind=facts.create.kind or v1.JOB_KIND_TRAINING,
        results=results_of(facts).files,
        captioning=facts.create.captioning if facts.create.HasField("captioning") else None,
    )
    claims = [launch.claim for launch in facts.launches if launch.claim is not None]
    if claims:
        job.start_time.CopyFrom(claims[0].create_time)
    if facts.create.HasField("compute"):
        newest = facts.newest.assignment.compute_class if facts.newest is not None else ""
        job.compute.CopyFrom(plan_of(facts.create, newest))
        job.compute_fallbacks.extend(facts.create.compute_fallbacks)
    if facts.create.HasField("length"):
        job.length.CopyFrom(facts.create.length)
    if facts.outcome is not None:
        job.end_time.CopyFrom(facts.outcome.create_time)
    statuses = [launch.status for launch in facts.launches if launch.status is not None]
    if statuses:
        job.progress.CopyFrom(statuses[-1].progress)
    return job


@dataclass(frozen=True)
class Results:
    """The files that a job of another kind than training has made."""

    launch: int
    """Which made them; 0 where there are none."""
    files: Sequence[v1.ResultFile]


def results_of(facts: JobFacts) -> Results:
    """Those of the newest launch that has made some."""
    for launch in reversed(facts.launches):
        if launch.end is not None and launch.end.results:
            return Results(launch.number, launch.end.results)
    return Results(0, ())


def standing_of(facts: JobFacts, now: datetime, queue_position: int | None = None, held_back: str = "") -> Standing:
    newest = facts.newest
    if facts.outcome is not None:
        return Standing(facts.outcome.state, facts.outcome.reason, facts.outcome.message)
    if facts.cancel is not None:
        return _cancelling(facts)
    if newest is None:
        return _queued(queue_position, held_back)
    if newest.suspended and newest.seen_end is None:
        return _held_up(newest)
    if cause_of(newest, now) is not None:
        return _between_launches(facts, now, held_back)
    if held_back and newest.claim is None and newest.execution is not None and not newest.alive:
        return Standing(v1.TRAINING_JOB_STATE_LAUNCHING, v1.STATE_REASON_HELD_BACK, held_back)
    if not _runs(newest) and _held_up(newest).reason != v1.STATE_REASON_UNSPECIFIED:
        return _without_machine(facts, now) or _held_up(newest)
    if newest.claim is not None:
        return _running(newest)
    return _launching(facts.launches, now)


def _cancelling(facts: JobFacts) -> Standing:
    newest = facts.newest
    working = newest is not None and newest.end is None and (newest.alive or newest.execution is None)
    message = (
        "Cancellation was asked for; the trainer is saving what it has and is being stopped."
        if working
        else "Cancellation was asked for; no trainer works any more."
    )
    return Standing(v1.TRAINING_JOB_STATE_CANCELLING, v1.STATE_REASON_CANCELLED_BY_USER, message)


def _queued(position: int | None, held_back: str) -> Standing:
    if held_back:
        return Standing(v1.TRAINING_JOB_STATE_QUEUED, v1.STATE_REASON_HELD_BACK, held_back)
    if position is None:
        message = "Waits to be launched."
    elif position == 1:
        message = "Is next in the queue; it starts as soon as a place is free."
    else:
        message = f"Is number {position} in the queue; jobs are launched in the order in which they came."
    return Standing(v1.TRAINING_JOB_STATE_QUEUED, v1.STATE_REASON_QUEUE_POSITION, message)


def _between_launches(facts: JobFacts, now: datetime, held_back: str) -> Standing:
    """The newest launch is over, and what follows from it is not recorded yet."""
    newest = facts.launches[-1]
    recording = Standing(
        v1.TRAINING_JOB_STATE_RUNNING, v1.STATE_REASON_SAVING, "The trainer has ended; its work is being verified."
    )
    if newest.end is not None and newest.end.exit_code == v1.EXIT_CODE_SUCCESS:
        return recording
    decision = decide_retry(causes_of(facts.launches, now), RetryPolicy())
    if held_back:
        message = f"{decision.message if isinstance(decision, GiveUp) else decision.cause.message} {held_back}"
        return Standing(v1.TRAINING_JOB_STATE_LAUNCHING, v1.STATE_REASON_HELD_BACK, message)
    return recording if isinstance(decision, GiveUp) else _backing_off(decision, newest.number + 1, now)


def _backing_off(decision: LaunchAgain, number: int, now: datetime) -> Standing:
    reason = decision.cause.reason
    seconds = max(0, round((decision.not_before - now).total_seconds()))
    return Standing(
        v1.TRAINING_JOB_STATE_LAUNCHING,
        reason if reason in _DISRUPTIONS else v1.STATE_REASON_BACKING_OFF,
        f"{decision.cause.message} Launch {number} follows in {seconds} seconds and goes on from the last checkpoint.",
    )


def _runs(launch: LaunchFacts) -> bool:
    return launch.execution is None or launch.execution.state in (ExecutionState.RUNNING, ExecutionState.EXITED)


def _held_up(launch: LaunchFacts) -> Standing:
    """Why its trainer does not run, as the executor tells it; UNSPECIFIED where nothing special is known."""
    execution = launch.execution or ABSENT
    return Standing(v1.TRAINING_JOB_STATE_LAUNCHING, execution.reason, execution.message)


def _without_machine(facts: JobFacts, now: datetime) -> Standing | None:
    """Its class has given no machine for too long; None where that is not so."""
    want = want_of_capacity(facts, now)
    if not want:
        return None
    plan = further_plan(facts)
    follows = (
        f"The job goes to {plan.compute_class} next."
        if plan is not None
        else "It goes on waiting; cancel it and name another class, or let the next one fall back (compute_fallback)."
    )
    return Standing(v1.TRAINING_JOB_STATE_LAUNCHING, v1.STATE_REASON_NO_CAPACITY, f"{want} {follows}")


def _running(launch: LaunchFacts) -> Standing:
    status = launch.status or v1.RunStatus()
    progress = status.progress
    reason, sentence = _PHASES.get(progress.phase, _PHASES[v1.PHASE_UNSPECIFIED])
    if progress.phase == v1.PHASE_PREVIEWING and not status.HasField("first_step_time"):
        reason = v1.STATE_REASON_PREPARING
    if progress.phase == v1.PHASE_TRAINING and progress.steps:
        sentence = f"Step {progress.step} of {progress.steps} is done."
    elif progress.message:
        sentence = f"The trainer works: {progress.message}."
    return Standing(v1.TRAINING_JOB_STATE_RUNNING, reason, sentence)


def _launching(launches: tuple[LaunchFacts, ...], now: datetime) -> Standing:
    state, number = v1.TRAINING_JOB_STATE_LAUNCHING, launches[-1].number
    causes = causes_of(launches, now)
    if not causes:
        return Standing(state, v1.STATE_REASON_STARTING, "The trainer is being started.")
    cause = causes[-1]
    return Standing(
        state,
        cause.reason if cause.reason in _RELAUNCH_REASONS else v1.STATE_REASON_STARTING,
        f"Launch {number} is being started and goes on from the last checkpoint. Launch {number - 1}: {cause.message}",
    )


def _summary(facts: JobFacts, launch: LaunchFacts) -> v1.LaunchSummary:
    summary = v1.LaunchSummary(
        number=launch.number,
        create_time=launch.assignment.create_time,
        compute_class=launch.assignment.compute_class,
        start_phases=start_phases(facts, launch),
    )
    seen = _seen_end(launch)
    if launch.claim is not None:
        summary.claim_time.CopyFrom(launch.claim.create_time)
    word = own_word(launch)
    if word is not None:
        summary.end_time.CopyFrom(word.create_time)
        summary.exit_code = word.exit_code
        summary.message = word.message
    elif seen is not None:
        exit_code = seen.exit_code if seen.HasField("exit_code") else None
        summary.end_time.CopyFrom(seen.create_time)
        if exit_code is not None:
            summary.exit_code = exit_code
        summary.message = seen.message or describe_exit(exit_code)
    return summary


def _seen_end(launch: LaunchFacts) -> v1.LaunchEnd | None:
    """As it is recorded, or else as it can be seen now."""
    execution = launch.execution
    if launch.seen_end is not None or execution is None or execution.end_time is None:
        return launch.seen_end
    return end_seen_of(execution, execution.end_time)


def _adapter_names(launches: Iterable[LaunchFacts]) -> list[str]:
    """Each adapter once, oldest first."""
    adapters = [manifest.adapter for launch in launches for manifest in launch.adapters]
    ordered = sorted(adapters, key=lambda adapter: (adapter.step, adapter.create_time.ToNanoseconds()))
    return list(dict.fromkeys(adapter.name for adapter in ordered))
