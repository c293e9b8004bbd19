from __future__ import annotations

import pytest

from trainer.text.findings import text_warnings
from trainer.text.weights import has_escapes, has_weights


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a (red:1.2) star", True),
        ("a (big red : .8 ) star", True),
        ("a (star:-1), sky", True),
        ("a ((red)) star", True),
        ("a (((red))) star", True),
        ("a [red] star", True),
        ("[star:ring:0.5] on sand", True),
        ("a (red) star", False),
        ("hatsune miku (vocaloid)", False),
        ("the time (12:30) and the ratio 16:9", True),  # a program that draws would take it for a weight as well
        (r"a \(red:1.2\) star", False),
        (r"a \[red\] star", False),
        ("a red star [", False),
        ("[]", False),
        ("a star: red", False),
        ("", False),
    ],
)
def test_what_counts_as_a_weight(caption: str, expected: bool) -> None:
    assert has_weights(caption) == expected


@pytest.mark.parametrize(("caption", "expected"), [(r"miku \(vocaloid\)", True), (r"a \n b", False), ("(a)", False)])
def test_what_counts_as_an_escape(caption: str, expected: bool) -> None:
    assert has_escapes(caption) == expected


def test_each_kind_is_one_sentence_that_counts_and_names_captions() -> None:
    captions = ["a (red:1.2) star", "a [big] ring", r"star \(five\)", "a a a a", "a"]
    cut, weighted, escaped = text_warnings(captions, 3, lambda caption: len(caption.split()))
    assert (
        cut
        == "1 caption is longer than 3 tokens and is cut: 'a a a a'. Shorten them, or raise text.max_tokens, up to 225."
    )
    assert weighted.startswith("2 captions have weights of words, which are not interpreted")
    assert "'a (red:1.2) star', 'a [big] ring'" in weighted
    assert escaped.startswith("1 caption has brackets behind a backslash")


def test_at_the_largest_limit_only_shortening_helps() -> None:
    assert text_warnings(["a", "a"], 225, lambda _: 226) == [
        "1 caption is longer than 225 tokens and is cut: 'a'. Shorten them."
    ]


def test_ordinary_captions_raise_no_warning() -> None:
    assert text_warnings(["a red star", ""], 75, lambda caption: len(caption.split())) == []
