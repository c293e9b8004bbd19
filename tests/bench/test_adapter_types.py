import pytest

from bench.adapter_types import HIGH_RANK, JOINT, ROWS, SEEDS, TUNING_SEED, Result, Row, chosen_rate
from bench.shapes import FAMILY, RESOLUTION
from loramill import v1
from service.validation import violations

ALL = (*ROWS, *HIGH_RANK, JOINT)


@pytest.mark.parametrize(
    ("results", "chosen"),
    [
        ({1.0: (30, 97), 2.0: (50, 95), 4.0: (90, 80)}, 2.0),  # the best costs too much
        ({1.0: (30, 97), 2.0: (50, 92), 4.0: (50, 97)}, 2.0),  # 5 points are allowed; the lower of equals
        ({1.0: (30, 80), 2.0: (20, 85), 4.0: (90, 10)}, 2.0),  # all cost too much
    ],
)
def test_the_rate_is_the_best_of_those_that_forget_little(
    results: dict[float, tuple[float, float]], chosen: float
) -> None:
    found = {rate: Result(hearts=hearts, known=known) for rate, (hearts, known) in results.items()}
    assert chosen_rate(found, known_before=97) == chosen


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_the_service_would_accept_every_adapter(row: Row) -> None:
    base = v1.BaseModel(name="baseModels/shapes", family=FAMILY, resolution=RESOLUTION)
    dataset = v1.Dataset(name="datasets/0000000000000000", state=v1.DATASET_STATE_FINALIZED)
    spec = row.trial(1e-3, SEEDS[0]).spec()
    spec.dataset.dataset = dataset.name
    assert violations(spec, base, dataset) == []


def test_adapters_are_trained_alike_in_all_but_the_adapter_and_its_rate() -> None:
    specs = [row.trial(1e-3, SEEDS[0]).spec() for row in ALL]
    assert len({spec.adapter.SerializeToString() for spec in specs}) == len(ALL)
    for spec in specs:
        spec.ClearField("adapter")
        spec.ClearField("sources")
    assert len({spec.SerializeToString() for spec in specs}) == 1


def test_every_training_has_a_folder_of_its_own() -> None:
    seeds = (TUNING_SEED, *SEEDS)
    folders = {row.trial(rate, seed).folder() for row in ALL for rate in (1e-3, 2e-3) for seed in seeds}
    assert len(folders) == len(ALL) * 2 * len(seeds)


def test_high_ranks_take_the_rate_of_a_row_that_has_one() -> None:
    assert {row.rate_of for row in (*HIGH_RANK, JOINT)} <= {row.name for row in ROWS if row.rates}
