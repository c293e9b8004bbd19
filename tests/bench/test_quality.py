"""What the quality bench lays down: its tasks, how a rate is chosen, when a value is reached, what is kept, and the verdict."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.quality import SCRIPT, TUNED, best, candidates, print_tables, wanted
from bench.quality_ours import spec_of
from bench.quality_record import Point, Run, keep
from bench.quality_rows import ABLATIONS, BASELINES, OURS, TYPES, OurRow, at_rate, chosen_rate, reached, saves_of
from bench.quality_tables import Kept, aim_table, drift, lost
from bench.quality_tasks import PICTURES, tasks
from bench.shapes import FAMILY, RESOLUTION
from loramill import v1
from service.validation import violations


def test_a_task_asks_for_what_was_not_shown_and_keeps_what_it_does_not_ask_for():
    for task in tasks():
        for concept in task.concepts:
            shown = {one.caption for one in concept.pictures(with_tag=True)}
            assert len(shown) == PICTURES == 12
            assert not shown & {one.caption for one in concept.held_out()}
            assert {one.prompt for one in concept.asked()} > shown
        known, prior = {one.prompt for one in task.known_asked()}, set(task.prior_captions())
        taught = {one.prompt for concept in task.concepts for one in concept.asked()}
        assert not known & prior
        assert not taught & (known | prior)


def test_a_known_shape_is_restyled_without_a_word_for_it():
    (restyled,) = tasks()[1].concepts
    assert {one.prompt for one in restyled.asked()} > {"a red square on a sky background"}
    assert "square" not in {one.wanted for one in tasks()[1].known_asked()}
    plain, inlaid = tasks()[0].known_pictures()[1].picture, restyled.pictures(with_tag=True)[0].picture
    assert plain.size == inlaid.size
    assert (250, 250, 250) in {color for _, color in inlaid.getcolors(64 * 64)}


@pytest.mark.parametrize(
    ("values", "wanted", "rising", "place"),
    [
        ([0, 20, 60, 80], 50, True, 175.0),
        ([0, 20, 60, 40], 80, True, None),
        ([0.4, 0.3, 0.1, 0.2], 0.2, False, 150.0),
        ([70, 80, 90, 95], 50, True, 0.0),
    ],
)
def test_where_a_value_is_reached_is_read_off_between_measurements(values, wanted, rising, place):
    assert reached([0, 100, 200, 300], values, wanted, rising=rising) == place


def test_the_rate_with_the_lowest_loss_is_chosen():
    assert chosen_rate({1e-4: 0.3, 1e-3: 0.1, 1e-2: 0.1}) == 1e-3


def test_every_row_of_ours_is_a_job_that_the_service_would_take():
    base = v1.BaseModel(name="baseModels/shapes", family=FAMILY, resolution=RESOLUTION)
    for row in (OURS, *ABLATIONS, *(at_rate(row, 1e-3) for row in TYPES)):
        spec = spec_of(row, tasks()[0], seed=1)
        spec.dataset.dataset = "datasets/0000000000000000"
        dataset = v1.Dataset(name=spec.dataset.dataset, state=v1.DATASET_STATE_FINALIZED)
        assert violations(spec, base, dataset) == []
        assert spec.optimization.steps == row.steps
        assert spec.outputs.save_every * 3 == row.steps
        assert spec.concept.prior_preservation.enabled == row.prior
    both = spec_of(OURS, tasks()[2], seed=1)
    assert [one.kind for one in (both.concept, *both.concepts)] == [v1.CONCEPT_KIND_NEW, v1.CONCEPT_KIND_MODIFIED]
    assert [subset.concept for subset in both.dataset.subsets] == ["", "square"]


def point(step: int, score: float, loss: float) -> Point:
    return Point(step=step, seconds=step / 10, loss=loss, taught={"new": score}, known_loss=0.02, known=90.0)


def points(row, score: float, loss: float) -> list[Point]:
    return [point(0, 0, 0.2), *(point(step, score, loss) for step in saves_of(row))]


def put(run: Run, score: float, loss: float) -> None:
    keep(run.file(), [vars(one) for one in points(run.row, score, loss)])


def test_what_is_done_is_not_done_again_and_other_settings_are_another_run(tmp_path: Path):
    run = Run(tmp_path, "new", OURS, 1)
    assert run.points() is None
    put(run, 70, 0.1)
    assert [one.score for one in run.points()] == [0, 70, 70, 70]
    assert Run(tmp_path, "new", replace(OURS, steps=80), 1).points() is None
    assert Run(tmp_path, "new", replace(OURS, title="told otherwise"), 1).points() is not None


def test_the_rate_of_the_script_is_chosen_when_all_were_tried(tmp_path: Path):
    kept = Kept(tmp_path)
    assert best(kept, SCRIPT) is None
    for row, loss in zip(BASELINES, [0.2, 0.15, 0.1, 0.12, 0.3], strict=True):
        put(Run(tmp_path, TUNED, row, 0), 50, loss)
    assert best(kept, SCRIPT) == candidates(SCRIPT)[1e-3]
    after = [(run.task, run.row.name) for run in wanted(kept, ["main"])][len(BASELINES) :]
    assert after[:3] == [("new", "lora"), ("new", "diffusers-0.001"), ("new", "diffusers-0.0001")]
    assert len(after) == 3 * 3 * 5


def test_what_was_not_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    put(Run(tmp_path, "new", OURS, 1), 70, 0.1)
    print_tables(Kept(tmp_path))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| restyled")]
    assert lines
    assert all("not run" in line for line in lines)


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ((80, 0.1), (60, 0.1), "met, beyond doubt"),
        ((80, 0.11), (60, 0.1), "missed"),
        ((50, 0.1), (60, 0.1), "missed"),
    ],
)
def test_the_aim_wants_both_loss_and_score(tmp_path: Path, ours, theirs, verdict):
    for seed in (1, 2, 3):
        put(Run(tmp_path, "new", OURS, seed), *ours)
        put(Run(tmp_path, "new", BASELINES[2], seed), *theirs)
    made = aim_table(Kept(tmp_path), {"new": "new shape"}, BASELINES[2])
    assert [list(column.cells)[-1] for column in made.columns][-1] == verdict


def test_what_is_lost_is_counted_from_the_base_alone():
    before, after = point(0, 0, 0.2), replace(point(10, 0, 0.2), known=75.0, known_loss=0.03)
    assert lost([before, after]) == -15
    assert drift([before, after]) == pytest.approx(50)


def test_every_kind_of_row_has_a_name_of_its_own():
    rows = [OURS, *ABLATIONS, *TYPES, *BASELINES]
    assert len({row.name for row in rows}) == len(rows)
    assert all(isinstance(row, OurRow) for row in ABLATIONS)
