"""How long a job trains is told before it does, from the names of its dataset's files."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from loramill import v1
from loramill.cli.length import length_line
from service import presets
from service.dataset_names import violations_of_names
from service.length import length_of
from tests.service.api.specs import BASE, valid

PATHS = [
    *(f"10_cat/{n}.jpg" for n in range(5)),
    *(f"10_cat/{n}.txt" for n in range(5)),
    *(f"other/{n}.PNG" for n in range(3)),
    *(f"other/{n}.mask.png" for n in range(3)),
    "other/4.avif",
    "masks/10_cat/0.png",
    ".hidden/1.png",
    "notes.md",
]


def plan(dataset: dict[str, Any], optimization: dict[str, Any]) -> v1.LengthPlan:
    spec = ParseDict({"dataset": dataset, "optimization": {"batch_size": 4, **optimization}}, valid())
    return length_of(presets.resolve(spec, BASE, seed=5), PATHS)


CATS: dict[str, Any] = {"path_prefix": "10_cat/", "repeats": 10}
MASKED: dict[str, Any] = {"masks": "MASK_SOURCE_FILE", "mask_folder": "masks/"}


@pytest.mark.parametrize(
    ("dataset", "optimization", "told"),
    [
        ({}, {"steps": 30}, (10, 10, 4, 3, 30, 10)),
        (MASKED, {"steps": 30}, (9, 9, 4, 3, 30, 10)),
        ({**MASKED, "subsets": [CATS, {}]}, {"steps": 100}, (9, 54, 4, 14, 100, 100 / 14)),
        ({"subsets": [CATS]}, {"epochs": 3}, (5, 50, 4, 13, 39, 3)),
        ({"subsets": [CATS]}, {"epochs": 3, "gradient_accumulation": 5}, (5, 50, 20, 3, 9, 3)),
    ],
)
def test_the_length_of_a_job(dataset: dict[str, Any], optimization: dict[str, Any], told: tuple[float, ...]) -> None:
    found = plan(dataset, optimization)
    assert (
        found.pictures,
        found.visits_per_epoch,
        found.visits_per_step,
        found.steps_per_epoch,
        found.steps,
        pytest.approx(found.epochs),
    ) == told


def test_the_length_in_words() -> None:
    assert length_line(plan({"subsets": [CATS]}, {"epochs": 3}), by_epochs=True) == (
        "3 epochs, at least 39 steps of 4 visits; an epoch has 5 pictures, 50 visits, at least 13 steps"
    )
    assert length_line(plan({}, {"steps": 30}), by_epochs=False) == (
        "30 steps of 4 visits, at most 10 epochs; an epoch has 10 pictures, 10 visits, at least 3 steps"
    )
    one = v1.LengthPlan(pictures=1, visits_per_epoch=1, visits_per_step=1, steps_per_epoch=1, steps=1, epochs=1)
    assert length_line(one, by_epochs=False) == (
        "1 step of 1 visit, at most 1 epoch; an epoch has 1 picture, 1 visit, at least 1 step"
    )


def test_masks_in_a_folder_need_no_captions() -> None:
    spec = valid()
    spec.dataset.masks = v1.MASK_SOURCE_FILE
    paths = ["a.jpg", "a.txt", "masks/a.png"]
    assert [violation.reason for violation in violations_of_names(spec, paths)] == ["NO_CAPTION"]
    spec.dataset.mask_folder = "masks"
    assert list(violations_of_names(spec, paths)) == []
