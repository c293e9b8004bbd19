from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.captions import caption_of_visit, has_tag_in_sentence, parse_tags
from trainer.data.rules import CaptionRules
from trainer.draws import generator


def visit(caption: str, tag: str = "sks", number: int = 0, **rules: Any) -> str:
    return caption_of_visit(caption, CaptionRules(**rules), tag, generator(7, "caption", "a.png", number))


@pytest.mark.parametrize(
    ("caption", "tags"),
    [
        ("", ()),
        (" , ,, ", ()),
        ("a cat", ("a cat",)),
        ("a  cat ,on\ta\nmat,", ("a cat", "on a mat")),
        ("猫, né", ("猫", "né")),
    ],
)
def test_tags(caption: str, tags: tuple[str, ...]) -> None:
    assert parse_tags(caption) == tags


@pytest.mark.parametrize(
    ("caption", "tag", "rules", "expected"),
    [
        ("a cat, on a mat", "", {}, "a cat, on a mat"),
        ("a cat, on a mat", "sks", {}, "sks, a cat, on a mat"),
        ("", "sks", {}, "sks"),
        ("", "", {}, ""),
        ("a cat", "sks", {"prefix": "photo, soft", "suffix": "grain"}, "sks, photo, soft, a cat, grain"),
        # The activation tag comes first and once, wherever and however the user wrote it.
        ("a cat, sks", "sks", {}, "sks, a cat"),
        ("a cat, SKS , sks", "sks", {}, "sks, a cat"),
        ("sks cat on a mat, indoors", "sks", {}, "sks, cat on a mat, indoors"),
        ("a  big dog, here", "a big dog", {}, "a big dog, here"),
        ("a cat", "sks", {"prefix": "sks, photo", "suffix": "sks"}, "sks, photo, a cat"),
        ("sksy, sks-x", "sks", {}, "sks, sksy, sks-x"),
        ("a photo of sks cat", "sks", {}, "sks, a photo of sks cat"),
        ("c++ (x), a", "c++ (x)", {}, "c++ (x), a"),
        # All that can be dropped is dropped; what is kept stays in order.
        ("a, b, c, d", "sks", {"tag_dropout": 1.0}, "sks"),
        ("a, b, sks, c, d", "sks", {"tag_dropout": 1.0, "keep_tags": 2}, "sks, a, b"),
        ("a, b", "sks", {"tag_dropout": 1.0, "prefix": "p", "suffix": "s"}, "sks, p, s"),
        ("a", "sks", {"keep_tags": 5, "shuffle_tags": True}, "sks, a"),
        # A dropped caption is the unconditional example: nothing is left of it.
        ("a, b", "sks", {"caption_dropout": 1.0, "prefix": "p"}, ""),
    ],
)
def test_caption_of_a_visit(caption: str, tag: str, rules: dict[str, Any], expected: str) -> None:
    assert visit(caption, tag, **rules) == expected


def test_shuffling_keeps_every_tag_and_the_front() -> None:
    caption = ", ".join("abcdefgh")
    seen = {visit(caption, number=n, shuffle_tags=True, keep_tags=2) for n in range(50)}
    assert len(seen) > 40
    for text in seen:
        tags = text.split(", ")
        assert tags[:3] == ["sks", "a", "b"]
        assert Counter(tags[3:]) == Counter("cdefgh")


def test_dropout_rates_are_as_asked() -> None:
    visits = [visit("a, b, c, d", number=n, tag_dropout=0.25) for n in range(500)]
    assert sum(text.count(",") for text in visits) / 2000 == pytest.approx(0.75, abs=0.04)
    assert np.mean([visit("a", number=n, caption_dropout=0.1) == "" for n in range(1000)]) == pytest.approx(
        0.1, abs=0.03
    )


def test_one_rule_does_not_move_the_draws_of_another() -> None:
    caption = ", ".join("abcdefgh")
    for number in range(20):
        alone = visit(caption, number=number, tag_dropout=0.5).split(", ")
        both = visit(caption, number=number, tag_dropout=0.5, shuffle_tags=True, caption_dropout=0.0001).split(", ")
        assert Counter(alone) == Counter(both)


@settings(max_examples=50)
@given(
    tags=st.lists(st.sampled_from(["sks", "SKS", "a", "b c", "sks d", "", "é"])),
    keep=st.integers(0, 4),
    shuffle=st.booleans(),
    dropout=st.sampled_from([0.0, 0.5, 1.0]),
    number=st.integers(0, 1000),
)
def test_the_activation_tag_is_always_first_and_once(
    tags: list[str], keep: int, shuffle: bool, dropout: float, number: int
) -> None:
    text = visit(",".join(tags), number=number, keep_tags=keep, shuffle_tags=shuffle, tag_dropout=dropout, prefix="sks")
    found = text.split(", ")
    assert found[0] == "sks"
    assert "sks" not in [tag.lower() for tag in found[1:]]


@pytest.mark.parametrize(
    ("caption", "tag", "inside"),
    [
        ("a photo of sks cat", "sks", True),
        ("a photo of SKS", "sks", True),
        ("sks cat", "sks", False),
        ("sks, cat", "sks", False),
        ("masks", "sks", False),
        ("a photo", "", False),
    ],
)
def test_a_tag_inside_a_sentence_is_noticed(caption: str, tag: str, inside: bool) -> None:
    assert has_tag_in_sentence(caption, tag, CaptionRules()) is inside
