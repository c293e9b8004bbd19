"""What callers see of a job, in a table."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from loramill import v1
from service.executors import ABSENT, Execution, ExecutionState
from service.facts import JobFacts, LaunchFacts
from service.job import is_terminal, training_job
from service.times import to_timestamp
from tests.service.runtime.world import JOB, START, TENANT

SECOND = timedelta(seconds=1)
NOW = START + 20 * SECOND
RUNNING = Execution(ExecutionState.RUNNING)
KILLED = Execution(ExecutionState.EXITED, 137, end_time=NOW)
BASE = JobFacts(TENANT, JOB, v1.CreateRecord(job_id=JOB, create_time=to_timestamp(START), warnings=["Mind this."]))
HELD = Execution(ExecutionState.PENDING, reason=v1.STATE_REASON_SUSPENDED, message="Suspended by hand.", suspended=True)
REFUSED = Execution(ExecutionState.ABSENT, reason=v1.STATE_REASON_QUOTA, message="A quota is used up.")
UNSCHEDULABLE = Execution(ExecutionState.PENDING, reason=v1.STATE_REASON_UNSCHEDULABLE, message="No node fits.")
LOST = Execution(ExecutionState.EXITED, None, "Its node went away.", NOW, v1.STATE_REASON_NODE_LOST)
CANCEL = v1.CancelIntent(create_time=to_timestamp(NOW))


def launch(number: int = 1, *, execution: Execution | None = RUNNING, **parts: object) -> LaunchFacts:
    assignment = v1.Assignment(launch=number, create_time=to_timestamp(START + number * SECOND))
    return replace(LaunchFacts(assignment, execution=execution), **parts)  # type: ignore[arg-type]


def claim(second: int = 2) -> v1.Claim:
    return v1.Claim(create_time=to_timestamp(START + second * SECOND))


def status(phase: v1.Phase.ValueType, step: int = 3, message: str = "") -> v1.RunStatus:
    return v1.RunStatus(progress=v1.Progress(phase=phase, step=step, steps=9, message=message))


def stepped(told: v1.RunStatus) -> v1.RunStatus:
    told.first_step_time.CopyFrom(to_timestamp(NOW))
    return told


def end(code: v1.ExitCode.ValueType, message: str = "Its word.") -> v1.End:
    return v1.End(exit_code=code, message=message, create_time=to_timestamp(NOW))


def job(*launches: LaunchFacts, cancel: v1.CancelIntent | None = None, outcome: v1.Outcome | None = None) -> JobFacts:
    return replace(BASE, launches=launches, cancel=cancel, outcome=outcome)


@pytest.mark.parametrize(
    ("facts", "expected", "says"),
    [
        (job(), "QUEUED QUEUE_POSITION", "number 3 in the queue"),
        (job(cancel=CANCEL), "CANCELLING CANCELLED_BY_USER", "no trainer works"),
        (job(launch()), "LAUNCHING STARTING", "being started"),
        (job(launch(execution=None)), "LAUNCHING STARTING", "being started"),
        (job(launch(claim=claim())), "RUNNING PREPARING", "begun to work"),
        (job(launch(claim=claim(), execution=None)), "RUNNING PREPARING", "begun to work"),
        (
            job(launch(claim=claim(), status=status(v1.PHASE_ENCODING, message="encoding pictures 12/40"))),
            "RUNNING PREPARING",
            "encoding pictures 12/40",
        ),
        (job(launch(claim=claim(), status=status(v1.PHASE_TRAINING))), "RUNNING TRAINING", "Step 3 of 9"),
        (job(launch(claim=claim(), status=status(v1.PHASE_PREVIEWING))), "RUNNING PREPARING", "Previews"),
        (job(launch(claim=claim(), status=stepped(status(v1.PHASE_PREVIEWING)))), "RUNNING TRAINING", "Previews"),
        (job(launch(claim=claim(), status=status(v1.PHASE_SAVING))), "RUNNING SAVING", "written"),
        (job(launch(claim=claim(), end=end(v1.EXIT_CODE_SUCCESS))), "RUNNING SAVING", "verified"),
        (job(launch(claim=claim(), end=end(v1.EXIT_CODE_USER_ERROR))), "RUNNING SAVING", "verified"),
        (job(launch(claim=claim()), cancel=CANCEL), "CANCELLING CANCELLED_BY_USER", "being stopped"),
        (job(launch(claim=claim(), execution=KILLED)), "LAUNCHING BACKING_OFF", "Launch 2 follows in 1 second"),
        (job(launch(claim=claim(), end=end(v1.EXIT_CODE_STORAGE))), "LAUNCHING BACKING_OFF", "Its word. Launch 2"),
        (job(launch(claim=claim(), end=end(v1.EXIT_CODE_PREEMPTED))), "LAUNCHING PREEMPTED", "Launch 2 follows"),
        (job(launch(execution=KILLED), launch(2)), "LAUNCHING CRASHED", "Launch 1: The trainer was killed"),
        (job(launch(end=end(v1.EXIT_CODE_PREEMPTED)), launch(2)), "LAUNCHING PREEMPTED", "Launch 1: Its word."),
        (job(launch(end=end(v1.EXIT_CODE_STORAGE)), launch(2)), "LAUNCHING STORAGE", "Launch 2 is being started"),
        (job(launch(end=end(v1.EXIT_CODE_BUG)), launch(2)), "LAUNCHING STARTING", "Launch 1: Its word."),
        (job(launch(execution=KILLED), launch(2, claim=claim())), "RUNNING PREPARING", "begun"),
        # Why it does not run goes before how the one before it ended, and before what its run has said.
        (job(launch(execution=UNSCHEDULABLE)), "LAUNCHING UNSCHEDULABLE", "No node fits."),
        (job(launch(execution=REFUSED)), "LAUNCHING QUOTA", "quota"),
        (job(launch(execution=KILLED), launch(2, execution=UNSCHEDULABLE)), "LAUNCHING UNSCHEDULABLE", "No node"),
        (job(launch(execution=HELD)), "LAUNCHING SUSPENDED", "by hand"),
        (job(launch(claim=claim(), execution=HELD)), "LAUNCHING SUSPENDED", "by hand"),
        (
            job(launch(claim=claim(), execution=HELD, end=end(v1.EXIT_CODE_PREEMPTED))),
            "LAUNCHING SUSPENDED",
            "by hand",
        ),
        (job(launch(execution=HELD), cancel=CANCEL), "CANCELLING CANCELLED_BY_USER", "being stopped"),
        (job(launch(claim=claim(), execution=LOST)), "LAUNCHING NODE_LOST", "Its node went away. Launch 2 follows"),
        (job(launch(claim=claim(), execution=LOST), launch(2)), "LAUNCHING NODE_LOST", "Launch 1: Its node"),
        (
            job(
                launch(claim=claim()),
                outcome=v1.Outcome(
                    state=v1.TRAINING_JOB_STATE_FAILED, reason=v1.STATE_REASON_DIVERGED, message="It diverged."
                ),
            ),
            "FAILED DIVERGED",
            "It diverged.",
        ),
    ],
)
def test_state_reason_and_sentence(facts: JobFacts, expected: str, says: str) -> None:
    seen = training_job(facts, NOW, queue_position=3)
    state = v1.TrainingJobState.Name(seen.state).removeprefix("TRAINING_JOB_STATE_")
    reason = v1.StateReason.Name(seen.state_reason).removeprefix("STATE_REASON_")
    assert f"{state} {reason}" == expected
    assert says in seen.state_message
    assert seen.state_message.endswith(".")
    assert is_terminal(seen.state) == (state in ("SUCCEEDED", "FAILED", "CANCELLED"))


@pytest.mark.parametrize(
    ("position", "says"), [(None, "Waits to be launched."), (1, "is next in the queue"), (2, "number 2 in the queue")]
)
def test_places_in_the_queue(position: int | None, says: str) -> None:
    assert says.lower() in training_job(BASE, NOW, position).state_message.lower()


def test_an_end_that_the_service_saw_is_told_when_the_executor_has_forgotten_it() -> None:
    seen_end = v1.LaunchEnd(message="Its node went away.", create_time=to_timestamp(NOW))
    first, second = training_job(
        job(launch(execution=ABSENT, seen_end=seen_end), launch(2, execution=KILLED)), NOW
    ).launches
    assert (first.message, first.end_time, first.HasField("exit_code")) == (seen_end.message, to_timestamp(NOW), False)
    assert (second.exit_code, second.end_time) == (137, to_timestamp(NOW))


def test_fields_come_from_the_newest_that_has_them() -> None:
    def manifest(suffix: str, step: int) -> v1.AdapterManifest:
        return v1.AdapterManifest(adapter=v1.Adapter(name=f"adapters/{JOB}-{suffix}", step=step))

    facts = job(
        launch(claim=claim(3), status=status(v1.PHASE_TRAINING), execution=KILLED, adapters=(manifest("000005", 5),)),
        launch(
            2, claim=claim(9), adapters=(manifest("000005", 5), manifest("final", 10)), end=end(v1.EXIT_CODE_SUCCESS)
        ),
        launch(3),
        outcome=v1.Outcome(state=v1.TRAINING_JOB_STATE_SUCCEEDED, create_time=to_timestamp(NOW)),
    )
    seen = training_job(facts, NOW)
    assert seen.name == f"trainingJobs/{JOB}"
    assert seen.create_time == to_timestamp(START)
    assert seen.start_time == to_timestamp(START + 3 * SECOND)
    assert seen.end_time == to_timestamp(NOW)
    assert seen.progress.step == 3
    assert list(seen.warnings) == ["Mind this."]
    assert list(seen.adapters) == [f"adapters/{JOB}-000005", f"adapters/{JOB}-final"]
    first, second, third = seen.launches
    assert (first.number, first.exit_code, first.end_time) == (1, 137, to_timestamp(NOW))
    assert "SIGKILL" in first.message
    assert (second.exit_code, second.message) == (0, "Its word.")
    assert not third.HasField("exit_code")
    assert not third.HasField("end_time")


def test_a_launch_tells_the_class_that_it_ran_on() -> None:
    running = launch()
    running.assignment.compute_class = "gpu-spot"
    [summary] = training_job(job(running), NOW).launches
    assert summary.compute_class == "gpu-spot"
