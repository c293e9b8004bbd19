from __future__ import annotations

import math

import pytest

from trainer.report.text import count, duration, figure, one_line, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, with\ttab and\nline", "plain, with\ttab and\nline"),
        ("a\x00b\x1b[31m\x7f\x85", "a[U+0000]b[U+001B][31m[U+007F][U+0085]"),
        ("\u202egnp\u2066x\u200e", "[U+202E]gnp[U+2066]x[U+200E]"),
        ("zero\u200bwidth\ufeff\U000e0041", "zero[U+200B]width[U+FEFF][U+E0041]"),
        ("half \ud83e pair", "half \ufffd pair"),
        ("👩‍🚀 שלום 猫 é", "👩‍🚀 שלום 猫 é"),
    ],
)
def test_what_a_person_cannot_see_is_named(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_one_line_has_single_spaces() -> None:
    assert one_line("  a \n\n b\tc ") == "a b c"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (math.nan, "not a number"),
        (-math.inf, "infinite"),
        (0.0, "0"),
        (0.087123, "0.0871"),
        (12.345, "12.3"),
        (999.96, "1\u2009000"),
        (1234.5, "1\u2009234"),
        (5e-5, "5e-5"),
        (-1.25e-4, "-1.25e-4"),
    ],
)
def test_figures(value: float | None, shown: str) -> None:
    assert figure(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (59.6, "1 min"),
        (93.4, "1 min 33 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (3605, "1 h"),
        (90_000, "1 d 1 h"),
        (math.nan, "–"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_counts_have_groups_of_three() -> None:
    assert count(1234567) == "1\u2009234\u2009567"
