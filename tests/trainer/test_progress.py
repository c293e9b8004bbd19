"""What a run tells while it works reaches the store, whatever the store does meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from loramill import v1
from store import ObjectStore, StoreUnavailable, open_store
from store.records import read_record
from tests.trainer.jobs import Jobs
from trainer.logs import LogLines
from trainer.progress import Reporter
from trainer.story import read_metrics

NEVER = 1000.0


@pytest.fixture
def runs(tmp_path: Path) -> ObjectStore:
    return open_store(f"file://{tmp_path}/")


@pytest.fixture
def store(runs: ObjectStore) -> ObjectStore:
    return open_store(f"{runs.uri}1/")


def metrics(*steps: int, loss: float = 1.0) -> list[v1.TrainingMetric]:
    return [v1.TrainingMetric(step=step, loss=loss, images_per_second=2) for step in steps]


def tell(reporter: Reporter, *steps: int, loss: float = 1.0) -> None:
    reporter.trained(metrics(*steps, loss=loss), remaining=90.4, trained_seconds=float(steps[-1]))


def status(store: ObjectStore) -> v1.Progress:
    found = read_record(store, "status.json", v1.RunStatus)
    assert found is not None
    return found.progress


def eventually(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.005)


def test_status_and_measurements(runs: ObjectStore, store: ObjectStore) -> None:
    lines = LogLines()
    with Reporter(store, lines, NEVER) as reporter:
        reporter.phase(v1.PHASE_TRAINING, "training")
        reporter.length(0, 10, 0.0)
        tell(reporter, 1, 2, loss=1.0)
        reporter.flush()
        now = status(store)
        assert (now.phase, now.step, now.steps, now.loss) == (v1.PHASE_TRAINING, 2, 10, 1.0)
        assert (now.remaining.seconds, now.trained_seconds, now.images_per_second) == (90, 2.0, 2.0)
        assert now.message == "step 2/10"
        tell(reporter, 3, loss=0.5)
        lines.keep(None, "info", {"event": "said"})
        assert [metric.step for metric in read_metrics(runs, reporter.unstored)] == [1, 2, 3]
    assert status(store).step == 3
    assert [metric.loss for metric in read_metrics(runs, [])] == [1.0, 1.0, 0.5]
    assert [info.key for info in store.list("metrics/")] == ["metrics/000001.json", "metrics/000002.json"]
    assert b'"event": "said"' in store.get("logs/000001.jsonl")


def test_when_each_phase_began_first_and_the_first_step_was_done(store: ObjectStore) -> None:
    def told() -> tuple[list[v1.Phase.ValueType], list[int], int]:
        found = read_record(store, "status.json", v1.RunStatus)
        assert found is not None
        times = [start.time.ToNanoseconds() for start in found.phase_starts]
        first = found.first_step_time.ToNanoseconds() if found.HasField("first_step_time") else 0
        return [start.phase for start in found.phase_starts], times, first

    with Reporter(store, LogLines(), NEVER) as reporter:
        for phase in (v1.PHASE_ENCODING, v1.PHASE_PREVIEWING, v1.PHASE_TRAINING, v1.PHASE_PREVIEWING):
            reporter.phase(phase, "goes on")
        reporter.flush()
        phases, times, first_step = told()
        assert (phases, first_step) == ([v1.PHASE_ENCODING, v1.PHASE_PREVIEWING, v1.PHASE_TRAINING], 0)
        assert times == sorted(set(times))
        tell(reporter, 1)
        reporter.flush()
        first_step = told()[2]
        assert first_step > times[-1]
        tell(reporter, 2)
    assert told() == (phases, times, first_step), "later ones are no first ones"

    # The process was killed, and another does the same run again.
    with Reporter(store, LogLines(), NEVER) as reporter:
        reporter.phase(v1.PHASE_ENCODING, "once more")
        tell(reporter, 1)
    assert told() == (phases, times, first_step)


def test_the_first_step_of_a_run_is_told_at_once(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAMILL_TRAINER_REPORT_SECONDS", "1000")
    job = jobs.new("first step", {"optimization": {"steps": 3}, "previews": {"inference_steps": 1}})
    assert job.run() == 0
    assert [line["step"] for line in map(json.loads, job.log().splitlines()) if line["event"] == "trained"] == [1, 2, 3]
    found = read_record(open_store(job.assignment.run_uri), "status.json", v1.RunStatus)
    assert found is not None
    began = {start.phase: start.time.ToNanoseconds() for start in found.phase_starts}
    assert list(began) == [
        v1.PHASE_CHECKING_DATA,
        v1.PHASE_LOADING_MODEL,
        v1.PHASE_ENCODING,
        v1.PHASE_PREVIEWING,
        v1.PHASE_TRAINING,
        v1.PHASE_SAVING,
        v1.PHASE_ENDED,
    ]
    assert began[v1.PHASE_TRAINING] < found.first_step_time.ToNanoseconds() < began[v1.PHASE_SAVING]


def test_it_writes_by_itself(store: ObjectStore) -> None:
    with Reporter(store, LogLines(), 0.01) as reporter:
        tell(reporter, 1)
        eventually(lambda: not reporter.unstored)
        assert [info.key for info in store.list("metrics/")] == ["metrics/000001.json"]


def test_a_step_that_was_done_twice_counts_once(runs: ObjectStore) -> None:
    for launch, first in (("1", 1), ("2", 3), ("10", 4)):
        with Reporter(open_store(f"{runs.uri}{launch}/"), LogLines(), NEVER) as reporter:
            tell(reporter, first, first + 1, loss=float(launch))
    assert [(metric.step, metric.loss) for metric in read_metrics(runs, metrics(5, 6, loss=0))] == [
        (1, 1.0),
        (2, 1.0),
        (3, 2.0),
        (4, 10.0),
        (5, 0.0),
        (6, 0.0),
    ]


def test_a_process_that_follows_a_killed_one_writes_after_it(store: ObjectStore) -> None:
    for step in (1, 2):
        with Reporter(store, LogLines(), NEVER) as reporter:
            tell(reporter, step)
    assert [info.key for info in store.list("metrics/")] == ["metrics/000001.json", "metrics/000002.json"]


class Unanswered:
    """A store whose create-only writes reach it, but fail to say so at first."""

    def __init__(self, store: ObjectStore, failures: int) -> None:
        self._store, self._failures = store, failures

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def put_new(self, key: str, content: bytes | Path) -> None:
        self._store.put_new(key, content)
        if self._failures:
            self._failures -= 1
            raise StoreUnavailable("no answer")


def test_a_write_without_an_answer_loses_nothing(runs: ObjectStore, store: ObjectStore) -> None:
    lines = LogLines()
    with Reporter(Unanswered(store, 3), lines, NEVER) as reporter:
        for step in (1, 2, 3):
            lines.keep(None, "info", {"event": f"line {step}"})
            tell(reporter, step)
            reporter.flush()
    assert [metric.step for metric in read_metrics(runs, [])] == [1, 2, 3]
    logs = b"".join(store.get(info.key) for info in store.list("logs/"))
    assert all(f"line {step}".encode() in logs for step in (1, 2, 3))
    assert reporter.unstored == []
