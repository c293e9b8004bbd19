"""Which measures lead to which suggestion, and which to none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.trainer.data_report.samples import facts, picture, with_one
from trainer.data_report.facts import DataFacts, SubsetFacts
from trainer.data_report.suggestions import RULES, Action, suggestions

TWO = [SubsetFacts(name="a/", repeats=40, activation_tag=""), SubsetFacts(name="b/", repeats=1, activation_tag="")]
SAME = [picture(number, caption="a cat") for number in range(10)]
TAGGED = [picture(number, caption=f"cat, {number}, {number + 1}") for number in range(10)]


@pytest.mark.parametrize(
    ("found", "code", "action", "pictures"),
    [
        (with_one(words_gain=-2.0, worst_words="dog"), "CAPTION_PROBABLY_WRONG", Action.CAPTION, [9]),
        (with_one(words_gain=-0.1, caption_gain=-2.0), None, None, []),
        (facts(*(picture(n, words_gain=-2.0, caption_gain=-0.5) for n in range(10))), None, None, []),
        (with_one(caption=""), "CAPTION_EMPTY", Action.CAPTION, [9]),
        (facts(tokens=[76, *[12] * 9]), "CAPTION_TOO_LONG", Action.CAPTION, [0]),
        (facts(tokens=[75, *[12] * 9]), None, None, []),
        (facts(*SAME), "CAPTIONS_IDENTICAL", Action.CAPTION, list(range(10))),
        (facts(*TAGGED), "TAG_IN_EVERY_CAPTION", Action.CAPTION, []),
        (facts(*TAGGED, subsets=[SubsetFacts(name="", repeats=1, activation_tag="")]), None, None, []),
        (facts(near_duplicates=[[1, 4]]), "NEAR_DUPLICATES", Action.DROP, [1, 4]),
        (with_one(blur=0.7), "BLURRED", Action.DROP, [9]),
        (with_one(enlarged=2.0), "TOO_SMALL", Action.DROP, [9]),
        (with_one(short_of_resolution=0.75), "TOO_SMALL", Action.DROP, [9]),
        (with_one(contrast=0.1), "LOW_CONTRAST", Action.DROP, [9]),
        (with_one(reconstruction_error=0.12), "LOST_BY_VAE", Action.DROP, [9]),
        (with_one(reconstruction_error=0.08), None, None, []),
        (facts(*(picture(number, reconstruction_error=0.001 + 0.03 * (number > 8)) for number in range(10))), None, None, []),
        (with_one(lost=0.4), "MUCH_CUT_OFF", Action.CROP, [9]),
        (with_one(bars=(0.0, 0.1, 0.0, 0.1)), "BARS", Action.CROP, [9]),
        (facts(marked=[2, 3]), "COMMON_MARK", Action.CROP, [2, 3]),
        (facts(*(picture(number) for number in range(7))), "FEW_PICTURES", Action.ADD, []),
        (facts(*(picture(n, subset=n % 2) for n in range(10)), subsets=TWO), "SUBSET_RARELY_VISITED", Action.ADD, []),
    ],
)  # fmt: skip
def test_a_suggestion_has_its_reason_and_its_pictures(
    found: DataFacts, code: str | None, action: Action | None, pictures: Sequence[int]
) -> None:
    made = suggestions(found)
    assert [(one.code, one.action, list(one.pictures)) for one in made] == ([(code, action, pictures)] if code else [])
    for one in made:
        assert one.title[0].islower() or one.title[0].isdigit()
        assert one.reason.endswith(".")


def test_of_a_good_dataset_there_is_nothing_to_say() -> None:
    assert suggestions(facts()) == []


def test_the_worst_picture_comes_first() -> None:
    some = facts(*(picture(number, blur=0.1 * number) for number in range(10)))
    (one,) = suggestions(some)
    assert one.pictures == [9, 8, 7, 6]
    assert one.title == "4 pictures look blurred"


def test_what_was_not_measured_leads_to_nothing() -> None:
    assert suggestions(facts(*(picture(n, reconstruction_error=None, caption_gain=None) for n in range(10)))) == []


def test_every_rule_is_in_the_table_once() -> None:
    assert len({rule.__name__ for rule in RULES}) == len(RULES) == 15
