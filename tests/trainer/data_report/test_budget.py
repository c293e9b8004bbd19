"""What is asked of the base stays a share of the training."""

from __future__ import annotations

import pytest

from trainer.data_report.budget import (
    MOST_PICTURES,
    PASSES_OF_A_CAPTION,
    PASSES_OF_A_TEXT,
    PASSES_OF_A_VISIT,
    SHARE,
    sample,
    suspected,
)


@pytest.mark.parametrize(
    ("pictures", "visits", "expected", "why"),
    [
        (10, 100_000, 10, ""),
        (10_000, 10_000_000, MOST_PICTURES, "256 of 10000 pictures; more would say little more."),
        (100, 4000, 28, "28 of 100 pictures; more would take over 10% of the training."),
        (100, 12, 0, "was not asked about the pictures: it would take over 10% of the training."),
    ],
)
def test_a_sample_and_what_is_asked_about_parts_stay_within_the_share(
    pictures: int, visits: int, expected: int, why: str
) -> None:
    chosen = sample(pictures, visits)
    assert len(set(chosen.places)) == expected
    assert all(0 <= place < pictures for place in chosen.places)
    assert chosen.why_not_all.endswith(why)
    spent = expected * PASSES_OF_A_CAPTION + chosen.passes_for_parts
    assert 0 <= spent <= SHARE * PASSES_OF_A_VISIT * visits


def test_captions_that_help_little_are_asked_about_while_passes_last() -> None:
    captions = ["a red star", "a dog", "a blue star", "", "x, y, z", "on the"]
    gains = [-0.5, 0.5, -2.0, None, 0.1, -0.1]
    assert suspected(gains, captions, 10**6) == [2, 0, 4]
    assert suspected(gains, captions, 6 * PASSES_OF_A_TEXT) == [2, 0]
    assert suspected(gains, captions, 6 * PASSES_OF_A_TEXT - 1) == [2]
