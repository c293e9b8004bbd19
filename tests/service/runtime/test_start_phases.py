"""What the time until the first optimizer step went to, in a table."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from loramill import v1
from service.executors import Execution, ExecutionState
from service.facts import JobFacts, LaunchFacts
from service.job import training_job
from service.start_phases import start_phases
from service.times import to_timestamp
from tests.service.runtime.world import JOB, START, TENANT

CREATE = v1.CreateRecord(job_id=JOB, create_time=to_timestamp(START))


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def stamp(second: float) -> Timestamp:
    return to_timestamp(at(second))


def status(first_step: float | None = None, **phases: float) -> v1.RunStatus:
    starts = [v1.PhaseStart(phase=v1.Phase.Value(f"PHASE_{name}"), time=stamp(at_)) for name, at_ in phases.items()]
    return v1.RunStatus(phase_starts=starts, first_step_time=None if first_step is None else stamp(first_step))


def launch(number: int = 1, recorded: float = 1, **parts: object) -> LaunchFacts:
    return replace(LaunchFacts(v1.Assignment(launch=number, create_time=stamp(recorded))), **parts)  # type: ignore[arg-type]


def claim(second: float) -> v1.Claim:
    return v1.Claim(create_time=stamp(second))


def pod(scheduled: float, started: float) -> v1.LaunchStart:
    return v1.LaunchStart(scheduled_time=stamp(scheduled), started_time=stamp(started))


def seen(*launches: LaunchFacts) -> dict[str, float]:
    """Seconds by phase of the newest launch."""
    facts = JobFacts(TENANT, JOB, CREATE, launches)
    return {
        v1.StartPhase.Name(span.phase).removeprefix("START_PHASE_"): span.duration.ToTimedelta().total_seconds()
        for span in start_phases(facts, launches[-1])
    }


WORKING = status(
    first_step=30,
    CHECKING_DATA=10,
    LOADING_MODEL=12,
    ENCODING=15,
    PREVIEWING=19,
    TRAINING=26,
)
PREVIEWED = status(CHECKING_DATA=10, LOADING_MODEL=12, ENCODING=15, TRAINING=19, PREVIEWING=40, first_step=21)


@pytest.mark.parametrize(
    ("newest", "spans"),
    [
        (launch(), {"QUEUED": 1}),
        (launch(claim=claim(2), status=status()), {"QUEUED": 1}),
        (launch(status=status(CHECKING_DATA=10)), {"QUEUED": 1, "PROCESS": 9}),
        (launch(status=status(CHECKING_DATA=10, LOADING_MODEL=12)), {"QUEUED": 1, "PROCESS": 9, "DATA": 2}),
        (
            launch(status=WORKING),
            {"QUEUED": 1, "PROCESS": 9, "DATA": 2, "MODEL": 3, "ENCODING": 4, "FIRST_STEP": 11},
        ),
        (
            launch(status=PREVIEWED),
            {"QUEUED": 1, "PROCESS": 9, "DATA": 2, "MODEL": 3, "ENCODING": 4, "FIRST_STEP": 2},
        ),
        (
            launch(start=pod(3, 8), status=WORKING),
            {"QUEUED": 1, "SCHEDULING": 2, "CONTAINER": 5, "PROCESS": 2}
            | {"DATA": 2, "MODEL": 3, "ENCODING": 4, "FIRST_STEP": 11},
        ),
        (
            launch(execution=Execution(ExecutionState.PENDING, scheduled_time=at(3))),
            {"QUEUED": 1, "SCHEDULING": 2},
        ),
        (
            launch(recorded=1.9, start=pod(1, 3), status=status(CHECKING_DATA=2.5)),
            {"QUEUED": 1.9, "SCHEDULING": 0, "CONTAINER": 1.1, "PROCESS": 0},
        ),
    ],
    ids=[
        "recorded",
        "claimed, and loading its libraries",
        "data is read",
        "the model is loaded",
        "a first step",
        "no previews before it",
        "in a pod",
        "a pod that has a node",
        "clocks that differ",
    ],
)
def test_spans(newest: LaunchFacts, spans: dict[str, float]) -> None:
    assert seen(newest) == spans


def test_the_spans_add_up_to_the_time_from_create_to_first_step() -> None:
    assert sum(seen(launch(start=pod(3, 8), status=WORKING)).values()) == 30


@pytest.mark.parametrize(
    ("first", "queued"),
    [
        (launch(end=v1.End(create_time=stamp(50))), {"QUEUED": 2}),
        (launch(seen_end=v1.LaunchEnd(create_time=stamp(49))), {"QUEUED": 3}),
        (launch(execution=Execution(ExecutionState.EXITED, 137, end_time=at(51))), {"QUEUED": 1}),
        (launch(), {}),
    ],
    ids=["it said so", "it was seen to, and that is recorded", "it was seen to", "nobody knows when"],
)
def test_a_later_launch_is_waited_for_from_the_end_of_the_one_before(
    first: LaunchFacts, queued: dict[str, float]
) -> None:
    assert seen(first, launch(2, recorded=52, status=status(CHECKING_DATA=60))) == queued | {"PROCESS": 8}


def test_callers_see_them_with_each_launch() -> None:
    facts = JobFacts(
        TENANT,
        JOB,
        CREATE,
        (launch(end=v1.End(create_time=stamp(50))), launch(2, recorded=52, status=status(CHECKING_DATA=60))),
    )
    first, second = training_job(facts, at(70)).launches
    assert [span.phase for span in first.start_phases] == [v1.START_PHASE_QUEUED]
    assert [span.phase for span in second.start_phases] == [v1.START_PHASE_QUEUED, v1.START_PHASE_PROCESS]
