"""The simulation of nodes that come and go: what its trainers leave in the record, and what its accounts find fault with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.nodes import accounts, facts, scenario
from bench.nodes.accounts import EndedJob
from bench.nodes.facts import FactsFile, InterruptionFact, MachineFact, RunFact
from bench.nodes.trainers import MachineGone, Orders, Pace, SimulatedTrainer
from loramill import v1
from store import open_store
from store.records import put_record, read_record

STEPS, EVERY = 40, 10
QUICK = Pace(step=0.0, loading=0.0)
SLOW = Pace(step=0.005, loading=0.0)


def assignment_uri(root: Path, launch: int = 1) -> str:
    """Of a launch that is recorded there."""
    job = f"file://{root}/job/"
    assignment = v1.Assignment(
        schema_version=1,
        training_job="trainingJobs/x",
        launch=launch,
        spec=v1.TrainingSpec(
            optimization=v1.OptimizationSpec(steps=STEPS), checkpoints=v1.CheckpointSpec(every_steps=EVERY)
        ),
        control_uri=f"{job}control/",
        runs_uri=f"{job}runs/",
        run_uri=f"{job}runs/{launch}/",
        line_uri=f"{job}line/",
    )
    put_record(open_store(assignment.control_uri), f"launches/{launch}.json", assignment)
    return f"{assignment.control_uri}launches/{launch}.json"


class OrdersAt(Orders):
    """What comes while a trainer waits for the so manyth time: first for what it loads, then for each checkpoint and the end."""

    def __init__(self, number: int, given: Callable[[Orders], None]) -> None:
        super().__init__()
        self._left, self._given = number, given

    def wait(self, seconds: float) -> None:
        self._left -= 1
        if self._left == 0:
            self._given(self)
        super().wait(seconds)


def end_of(root: Path, launch: int = 1) -> v1.End | None:
    return read_record(open_store(f"file://{root}/job/runs/{launch}/"), "end.json", v1.End)


def test_a_trainer_comes_to_its_end_with_an_adapter(tmp_path: Path) -> None:
    trainer = SimulatedTrainer(assignment_uri(tmp_path), Orders(), QUICK)
    assert trainer.work() == v1.EXIT_CODE_SUCCESS
    end = end_of(tmp_path)
    assert end is not None
    assert (end.step, list(end.adapters)) == (STEPS, ["x-final"])
    checkpoints = sorted(path.name for path in (tmp_path / "job/runs/1/checkpoints").iterdir())
    assert checkpoints == [f"000-{step:07d}" for step in (10, 20, 30)]
    assert SimulatedTrainer(assignment_uri(tmp_path), Orders(), QUICK).work() == v1.EXIT_CODE_SUCCESS


def test_one_that_is_told_to_stop_loses_nothing(tmp_path: Path) -> None:
    first = SimulatedTrainer(assignment_uri(tmp_path), OrdersAt(3, Orders.stop), SLOW)
    assert first.work() == v1.EXIT_CODE_PREEMPTED
    assert 0 < first.last_step < STEPS
    second = SimulatedTrainer(assignment_uri(tmp_path, 2), Orders(), QUICK)
    assert second.work() == v1.EXIT_CODE_SUCCESS
    assert (second.first_step, second.last_step) == (first.last_step, STEPS)


def test_one_whose_machine_goes_says_nothing_and_costs_the_steps_since_its_checkpoint(tmp_path: Path) -> None:
    first = SimulatedTrainer(assignment_uri(tmp_path), OrdersAt(4, Orders.kill), SLOW)
    with pytest.raises(MachineGone):
        first.work()
    assert end_of(tmp_path) is None
    second = SimulatedTrainer(assignment_uri(tmp_path, 2), Orders(), QUICK)
    assert second.work() == v1.EXIT_CODE_SUCCESS
    assert second.first_step == 2 * EVERY
    assert second.first_step <= first.last_step <= second.first_step + EVERY


def test_of_two_of_a_launch_one_works(tmp_path: Path) -> None:
    orders = Orders()
    orders.kill()
    uri = assignment_uri(tmp_path)
    with pytest.raises(MachineGone):
        SimulatedTrainer(uri, orders, QUICK).work()
    assert SimulatedTrainer(uri, Orders(), QUICK).work() == v1.EXIT_CODE_SUPERSEDED


JOB = EndedJob(
    id="a",
    compute_class="gpu-spot",
    steps=100,
    created=0.0,
    started=7.0,
    ended=60.0,
    succeeded=True,
    launches=2,
    message="",
)
MACHINE = MachineFact(node="n", capacity_type="spot", instance_type="gpu-4x", gpus=4, since=0.0, until=1800.0)
KILLED = RunFact(
    job="a", launch=1, node="n", first_step=0, last_step=51, since=7.0, until=30.0, exit_code=None, disruption=""
)
SECOND = replace(KILLED, launch=2, node="m", first_step=50, last_step=100, exit_code=0)
TAKEN = InterruptionFact(node="n", announced=False, at=30.0)
ALL = [MACHINE, KILLED, SECOND, TAKEN]


def test_the_accounts_of_a_class() -> None:
    demand, spot = accounts.rows([JOB], ALL)
    assert (demand.jobs, demand.cost, demand.lost) == (0, 0.0, 0.0)
    assert (spot.jobs, spot.launches, spot.waits, spot.interruptions, spot.interrupted_trainers) == (1, 2, [7.0], 1, 1)
    assert spot.lost == pytest.approx(1 / 101)
    assert spot.cost == pytest.approx(0.5 * 4 * 0.4)
    assert spot.paid_gpu_seconds == 4 * 1800.0
    assert "| gpu-spot | 1 | 2 | 7 / 7 / 7 s | 1 | 1 | 1 | 0.99% | 2.00 | 0% | 0.80 USD |" in accounts.table([spot])


@pytest.mark.parametrize(
    ("jobs", "found", "nodes_left", "fault"),
    [
        ([], ALL, 0, "1 of 1 jobs did not end"),
        ([replace(JOB, succeeded=False, message="No.")], ALL, 0, "a did not succeed: No."),
        ([JOB], ALL, 2, "2 nodes are left"),
        ([JOB], [replace(KILLED, disruption="EvictionByEvictionAPI"), SECOND], 0, "1 trainers were driven out"),
        ([JOB], [replace(KILLED, exit_code=v1.EXIT_CODE_PREEMPTED), SECOND], 0, "(told to stop)"),
        ([JOB], [replace(KILLED, last_step=60), SECOND, TAKEN], 0, "9.1% of the work was done twice"),
    ],
)
def test_what_should_not_be_is_told(jobs: list[EndedJob], found: list[facts.Fact], nodes_left: int, fault: str) -> None:
    assert [told for told in accounts.faults(jobs, 1, found, nodes_left) if fault in told]


def test_nothing_is_told_of_a_run_in_order() -> None:
    driven_out_with_its_machine = replace(KILLED, disruption="EvictionByEvictionAPI")
    assert [*accounts.faults([JOB], 1, [MACHINE, driven_out_with_its_machine, SECOND, TAKEN], 0)] == []


def test_facts_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = FactsFile(tmp_path / "facts.jsonl")
    for fact in ALL:
        file.write(fact)
    assert facts.read(tmp_path / "facts.jsonl") == ALL


def test_the_plan_is_of_both_classes_and_the_same_for_the_same_seed() -> None:
    planned = scenario.planned_jobs(200, 60.0, 1)
    assert planned == scenario.planned_jobs(200, 60.0, 1) != scenario.planned_jobs(200, 60.0, 2)
    assert [job.compute_class for job in planned].count("gpu-spot") == 100
    assert sorted(job.at for job in planned) == [job.at for job in planned]
