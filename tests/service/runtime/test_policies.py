"""The pure policies in tables: causes, retry, outcome, admission."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from loramill import v1
from service.admission import Place, admitted, in_order
from service.causes import CLAIM_LIMIT, Cause, Retry, cause_of, causes_of, describe_exit, end_seen_of
from service.executors import ABSENT, Execution, ExecutionState
from service.facts import JobFacts, LaunchFacts
from service.outcome import decide_outcome
from service.retry import GiveUp, LaunchAgain, RetryPolicy, decide_retry
from service.times import to_timestamp
from service.verification import CommittedAdapter
from tests.service.runtime.world import JOB, START, TENANT

RUNNING = Execution(ExecutionState.RUNNING)
SECOND = timedelta(seconds=1)


def exited(code: int | None, after: timedelta = 10 * SECOND) -> Execution:
    return Execution(ExecutionState.EXITED, code, end_time=START + after)


def ended_by(reason: v1.StateReason.ValueType, code: int | None = 137) -> Execution:
    return Execution(ExecutionState.EXITED, code, "From outside.", START + 10 * SECOND, reason)


def launch(
    execution: Execution | None = None,
    *,
    claimed: bool = False,
    end: int | None = None,
    heard: timedelta | None = None,
    number: int = 1,
) -> LaunchFacts:
    """A launch that was recorded at START."""
    progress = v1.Progress(update_time=to_timestamp(START + heard)) if heard is not None else None
    return LaunchFacts(
        assignment=v1.Assignment(launch=number, create_time=to_timestamp(START)),
        claim=v1.Claim(create_time=to_timestamp(START + SECOND)) if claimed else None,
        status=v1.RunStatus(progress=progress) if progress is not None else None,
        end=None
        if end is None
        else v1.End(exit_code=v1.ExitCode.Name(end), message="Its word.", create_time=to_timestamp(START + 5 * SECOND)),  # type: ignore[arg-type]
        execution=execution,
    )


@pytest.mark.parametrize(
    ("facts", "age", "expected"),
    [
        # Nothing is over yet.
        (launch(), CLAIM_LIMIT * 9, None),
        (launch(claimed=True), CLAIM_LIMIT * 9, None),
        (launch(RUNNING), CLAIM_LIMIT * 9, None),
        (launch(Execution(ExecutionState.PENDING)), CLAIM_LIMIT * 9, None),
        (launch(ABSENT), CLAIM_LIMIT - SECOND, None),
        # Never started.
        (launch(ABSENT), CLAIM_LIMIT, v1.STATE_REASON_CRASHED),
        # It worked, and the executor has never heard of it or has lost it.
        (launch(ABSENT, claimed=True), 2 * SECOND, v1.STATE_REASON_CRASHED),
        (launch(exited(None)), 2 * SECOND, v1.STATE_REASON_CRASHED),
        (launch(exited(None), claimed=True), 2 * SECOND, v1.STATE_REASON_CRASHED),
        # Its own word goes before the exit code, even while the process is still there.
        (launch(RUNNING, claimed=True, end=65), 2 * SECOND, v1.STATE_REASON_OUT_OF_MEMORY),
        (launch(exited(137), claimed=True, end=64), 2 * SECOND, v1.STATE_REASON_USER_ERROR),
        # Exit codes of runs without a word.
        (launch(exited(0)), 2 * SECOND, v1.STATE_REASON_INTERNAL),
        (launch(exited(1)), 2 * SECOND, v1.STATE_REASON_INTERNAL),
        (launch(exited(64)), 2 * SECOND, v1.STATE_REASON_USER_ERROR),
        (launch(exited(65)), 2 * SECOND, v1.STATE_REASON_OUT_OF_MEMORY),
        (launch(exited(66)), 2 * SECOND, v1.STATE_REASON_DIVERGED),
        (launch(exited(67)), 2 * SECOND, v1.STATE_REASON_STALLED),
        (launch(exited(68)), 2 * SECOND, v1.STATE_REASON_PREEMPTED),
        (launch(exited(69)), 2 * SECOND, v1.STATE_REASON_STORAGE),
        (launch(exited(70)), 2 * SECOND, v1.STATE_REASON_DEADLINE_EXCEEDED),
        (launch(exited(72)), 2 * SECOND, v1.STATE_REASON_INTERNAL),
        (launch(exited(127)), 2 * SECOND, v1.STATE_REASON_INTERNAL),
        (launch(exited(137)), 2 * SECOND, v1.STATE_REASON_CRASHED),
        (launch(exited(139)), 2 * SECOND, v1.STATE_REASON_CRASHED),
        (launch(exited(255)), 2 * SECOND, v1.STATE_REASON_CRASHED),
        # Another process holds the launch: looked at again for as long as it is heard of.
        (launch(exited(71), claimed=True), SECOND + CLAIM_LIMIT - SECOND, None),
        (launch(exited(71), claimed=True), SECOND + CLAIM_LIMIT, v1.STATE_REASON_CRASHED),
        (launch(exited(71), claimed=True, heard=CLAIM_LIMIT), 2 * CLAIM_LIMIT - SECOND, None),
        (launch(exited(71), claimed=True, heard=CLAIM_LIMIT), 2 * CLAIM_LIMIT, v1.STATE_REASON_CRASHED),
    ],
)
def test_how_a_launch_ended(facts: LaunchFacts, age: timedelta, expected: int | None) -> None:
    cause = cause_of(facts, START + age)
    assert (cause.reason if cause is not None else None) == expected
    assert cause is None or cause.message


@pytest.mark.parametrize(
    ("facts", "reason", "retry"),
    [
        (launch(ended_by(v1.STATE_REASON_PREEMPTED)), v1.STATE_REASON_PREEMPTED, Retry.FREE),
        (launch(ended_by(v1.STATE_REASON_NODE_LOST, None)), v1.STATE_REASON_NODE_LOST, Retry.FREE),
        (launch(ended_by(v1.STATE_REASON_EVICTED, 2)), v1.STATE_REASON_EVICTED, Retry.COUNTED),
        (launch(ended_by(v1.STATE_REASON_OUT_OF_MEMORY)), v1.STATE_REASON_OUT_OF_MEMORY, Retry.NEVER),
        (
            launch(ended_by(v1.STATE_REASON_DEADLINE_EXCEEDED), claimed=True),
            v1.STATE_REASON_DEADLINE_EXCEEDED,
            Retry.NEVER,
        ),
        # It never trained: waiting may take any time.
        (launch(ended_by(v1.STATE_REASON_DEADLINE_EXCEEDED, None)), v1.STATE_REASON_DEADLINE_EXCEEDED, Retry.FREE),
        # A run's own word goes before all of it.
        (launch(ended_by(v1.STATE_REASON_EVICTED), claimed=True, end=64), v1.STATE_REASON_USER_ERROR, Retry.NEVER),
        # But why it was told to stop it cannot know.
        (launch(ended_by(v1.STATE_REASON_EVICTED, 68), claimed=True, end=68), v1.STATE_REASON_EVICTED, Retry.COUNTED),
        (launch(ended_by(v1.STATE_REASON_PREEMPTED, 68), claimed=True, end=68), v1.STATE_REASON_PREEMPTED, Retry.FREE),
    ],
)
def test_what_ends_a_launch_from_outside(facts: LaunchFacts, reason: v1.StateReason.ValueType, retry: Retry) -> None:
    cause = cause_of(facts, START + 20 * SECOND)
    assert cause is not None
    assert (cause.reason, cause.retry) == (reason, retry)
    has_last_word = facts.end is not None and reason != v1.STATE_REASON_EVICTED
    assert cause.message == ("Its word." if has_last_word else "From outside.")


@pytest.mark.parametrize(
    "execution", [exited(137), exited(None), exited(64), ended_by(v1.STATE_REASON_NODE_LOST, None), ended_by(20)]
)
def test_what_is_recorded_of_an_end_means_the_same_when_the_executor_has_forgotten_it(execution: Execution) -> None:
    seen = launch(execution, claimed=True)
    forgotten = replace(seen, execution=ABSENT, seen_end=end_seen_of(execution, START))
    assert cause_of(forgotten, START + 99 * CLAIM_LIMIT) == cause_of(seen, START + 20 * SECOND)


def test_that_a_node_drove_a_run_out_is_remembered_too() -> None:
    execution = ended_by(v1.STATE_REASON_EVICTED, v1.EXIT_CODE_PREEMPTED)
    seen = launch(execution, claimed=True, end=v1.EXIT_CODE_PREEMPTED)
    forgotten = replace(seen, execution=ABSENT, seen_end=end_seen_of(execution, START))
    assert cause_of(forgotten, START + 99 * CLAIM_LIMIT) == cause_of(seen, START + 20 * SECOND)


def test_an_executor_that_knows_why_it_cannot_begin_is_not_given_up() -> None:
    refused = Execution(ExecutionState.ABSENT, reason=v1.STATE_REASON_QUOTA, message="No room.")
    assert cause_of(launch(refused), START + 99 * CLAIM_LIMIT) is None
    assert cause_of(launch(refused, claimed=True), START + 2 * SECOND) is not None


def test_a_launch_recorded_before_the_service_began_gets_its_full_time_to_be_started() -> None:
    began = START + timedelta(hours=1)
    assert cause_of(launch(ABSENT), began + CLAIM_LIMIT - SECOND, watched_since=began) is None
    assert cause_of(launch(ABSENT), began + CLAIM_LIMIT, watched_since=began) is not None


def test_every_exit_code_of_the_table_is_known() -> None:
    for code in v1.ExitCode.values():
        assert "unknown exit code" not in describe_exit(code)
    assert "unknown exit code 99" in describe_exit(99)
    assert "SIGKILL" in describe_exit(128 + 9)
    assert "SIGSEGV" in describe_exit(128 + 11)
    assert "signal 127" in describe_exit(255)


def test_a_launch_that_another_one_followed_is_over() -> None:
    causes = causes_of((launch(claimed=True), launch(RUNNING, number=2)), START)
    assert [cause.reason for cause in causes] == [v1.STATE_REASON_CRASHED]


def ended(retry: Retry) -> Cause:
    reasons = {
        Retry.NEVER: v1.STATE_REASON_USER_ERROR,
        Retry.COUNTED: v1.STATE_REASON_STORAGE,
        Retry.FREE: v1.STATE_REASON_PREEMPTED,
    }
    return Cause(reasons[retry], retry, "It ended.", START)


NEVER, COUNTED, FREE = ended(Retry.NEVER), ended(Retry.COUNTED), ended(Retry.FREE)


@pytest.mark.parametrize(
    ("causes", "delay"),
    [
        ([COUNTED], 1),
        ([COUNTED, COUNTED], 4),
        ([COUNTED, COUNTED, COUNTED], None),
        ([FREE], 1),
        ([FREE] * 100, 1),
        ([COUNTED, FREE, COUNTED, FREE], 1),
        ([COUNTED, FREE, COUNTED], 4),
        ([COUNTED, FREE, COUNTED, FREE, COUNTED], None),
        ([FREE] * 5 + [COUNTED], 1),
        ([NEVER], None),
        ([COUNTED, NEVER], None),
    ],
)
def test_retry(causes: list[Cause], delay: int | None) -> None:
    decision = decide_retry(causes, RetryPolicy())
    if delay is None:
        assert isinstance(decision, GiveUp)
        assert decision.reason == causes[-1].reason
    else:
        assert decision == LaunchAgain(START + delay * SECOND, causes[-1])


def test_delays_stay_below_their_limit() -> None:
    decision = decide_retry([COUNTED] * 5000, RetryPolicy(failures=10_000))
    assert decision == LaunchAgain(START + RetryPolicy().longest_delay, COUNTED)


def facts(cancelled: bool = False) -> JobFacts:
    return JobFacts(TENANT, JOB, v1.CreateRecord(), cancel=v1.CancelIntent() if cancelled else None)


def final(*, partial: bool = False, problem: str | None = None, number: int = 1) -> CommittedAdapter:
    return CommittedAdapter(number, v1.Adapter(name=f"adapters/{JOB}-final", step=7, partial=partial), "", problem)


@pytest.mark.parametrize(
    ("cancelled", "finals", "causes", "expected"),
    [
        (False, [], [], None),
        (False, [], [COUNTED], None),
        (False, [], [FREE], None),
        (False, [final()], [], v1.TRAINING_JOB_STATE_SUCCEEDED),
        (False, [final()], [NEVER], v1.TRAINING_JOB_STATE_SUCCEEDED),
        (True, [final()], [], v1.TRAINING_JOB_STATE_SUCCEEDED),
        (False, [final(problem="Bad."), final()], [COUNTED], v1.TRAINING_JOB_STATE_SUCCEEDED),
        (False, [final(problem="Bad.")], [COUNTED], None),
        (False, [final(problem="Bad.")], [COUNTED] * 3, v1.TRAINING_JOB_STATE_FAILED),
        (False, [final(partial=True)], [COUNTED], None),
        (True, [final(partial=True)], [COUNTED], v1.TRAINING_JOB_STATE_CANCELLED),
        (True, [], [], v1.TRAINING_JOB_STATE_CANCELLED),
        (True, [], [NEVER], v1.TRAINING_JOB_STATE_CANCELLED),
        (False, [], [NEVER], v1.TRAINING_JOB_STATE_FAILED),
        (False, [], [COUNTED] * 3, v1.TRAINING_JOB_STATE_FAILED),
    ],
)
def test_outcome(cancelled: bool, finals: list[CommittedAdapter], causes: list[Cause], expected: int | None) -> None:
    outcome = decide_outcome(facts(cancelled), finals, causes, RetryPolicy(), START)
    assert (outcome.state if outcome is not None else None) == expected
    assert outcome is None or (outcome.message and outcome.schema_version == 1)


def test_outcomes_say_what_is_left() -> None:
    kept = decide_outcome(facts(True), [final(partial=True)], [], RetryPolicy(), START)
    assert kept is not None
    assert kept.message == f"Was cancelled after 7 steps; what was learnt until then is adapters/{JOB}-final."
    damaged = decide_outcome(facts(), [final(problem="x is not there.", number=3)], [COUNTED] * 3, RetryPolicy(), START)
    assert damaged is not None
    assert damaged.message.startswith("The final adapter of launch 3 is not whole: x is not there.")


def place(job: str, minute: int, waits: bool = True, held_back: bool = False) -> Place:
    return Place(TENANT, job, START + timedelta(minutes=minute), waits, held_back)


@pytest.mark.parametrize(
    ("places", "limit", "expected"),
    [
        ([], 1, ""),
        ([place("a", 2), place("b", 1), place("c", 3)], 1, "b"),
        ([place("a", 2), place("b", 1), place("c", 3)], 2, "ba"),
        ([place("a", 2), place("b", 1), place("c", 3)], 9, "bac"),
        ([place("a", 2), place("b", 1, waits=False)], 1, ""),
        ([place("a", 2), place("b", 1, waits=False)], 2, "a"),
        ([place("a", 2), place("b", 1, waits=False), place("c", 0, waits=False)], 1, ""),
        # Ids sort newest first: of one moment, the greater is the older.
        ([place("a", 1), place("c", 1), place("b", 1)], 2, "cb"),
    ],
)
def test_admission(places: list[Place], limit: int, expected: str) -> None:
    assert "".join(each.job for each in admitted(places, limit)) == expected
    assert "".join(each.job for each in in_order(places)).startswith(expected)


def test_who_is_held_back_keeps_the_place_and_lets_others_pass() -> None:
    places = [place("a", 2), place("b", 1, held_back=True), place("c", 3)]
    assert [each.job for each in in_order(places)] == ["b", "a", "c"]
    assert [each.job for each in admitted(places, 1)] == ["a"]
    assert admitted([place("a", 2, held_back=True)], 9) == []
