"""What is asked of the base stays a share of the training."""

from __future__ import annotations

import pytest

from trainer.data_report.budget import MOST_PICTURES, PASSES_OF_A_CAPTION, PASSES_OF_A_VISIT, SHARE, sample, timesteps


@pytest.mark.parametrize(
    ("pictures", "visits", "expected", "why"),
    [
        (10, 100_000, 10, ""),
        (10_000, 10_000_000, MOST_PICTURES, "256 of 10000 pictures; more would say little more."),
        (100, 4000, 18, "18 of 100 pictures; more would take over 5% of the training."),
        (100, 12, 0, "was not asked about the pictures: it would take over 5% of the training."),
    ],
)
def test_a_sample(pictures: int, visits: int, expected: int, why: str) -> None:
    chosen = sample(pictures, visits)
    assert len(set(chosen.places)) == expected
    assert all(0 <= place < pictures for place in chosen.places)
    assert chosen.why_not_all.endswith(why)
    assert expected * PASSES_OF_A_CAPTION <= SHARE * PASSES_OF_A_VISIT * visits


def test_timesteps_are_spread_over_all() -> None:
    assert timesteps(1000) == (62, 187, 312, 437, 562, 687, 812, 937)
