from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.captions import caption_of_visit, has_tag_in_sentence, parse_tags, with_alternatives_chosen
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


@pytest.mark.parametrize(
    ("caption", "rules", "expected"),
    [
        ("a dog. on a mat.", {"separator": "."}, "sks. a dog. on a mat"),
        ("a, b; c", {"separator": ";", "prefix": "p; q", "suffix": "s"}, "sks; p; q; a, b; c; s"),
        # What stands before the keep separator stays in front, what stands behind its second occurrence at the end.
        ("a, b ||| c, d", {"keep_separator": "|||", "tag_dropout": 1.0}, "sks, a, b"),
        ("a, b ||| c, d ||| e, f", {"keep_separator": "|||", "tag_dropout": 1.0}, "sks, a, b, e, f"),
        ("a ||| b ||| c ||| d", {"keep_separator": "|||"}, "sks, a, b, c, d"),
        ("||| a, sks ||| sks b", {"keep_separator": "|||", "tag_dropout": 1.0}, "sks, b"),
        # It counts instead of the number, in captions that have it.
        ("a ||| b, c", {"keep_separator": "|||", "keep_tags": 2, "tag_dropout": 1.0}, "sks, a"),
        ("a, b, c", {"keep_separator": "|||", "keep_tags": 2, "tag_dropout": 1.0}, "sks, a, b"),
        ("red;;;dress, sks;;;x", {"group_separator": ";;;"}, "sks, red, dress, x"),
        ("red;;;dress, b", {"group_separator": ";;;", "keep_tags": 1, "tag_dropout": 1.0}, "sks, red, dress"),
    ],
)
def test_separators(caption: str, rules: dict[str, Any], expected: str) -> None:
    assert visit(caption, **rules) == expected


def test_the_activation_tag_is_whole_whatever_the_separator_is() -> None:
    assert visit("a.b", tag="v1.5 x", separator=".") == "v1.5 x. a. b"


def test_groups_stay_together() -> None:
    seen = set()
    for number in range(60):
        tags = visit("a;;;b;;;c, d, e", number=number, shuffle_tags=True, tag_dropout=0.3, group_separator=";;;")
        inside = tags.split(", ")[1:]
        seen.add(tuple(inside))
        if "a" in inside:
            place = inside.index("a")
            assert inside[place : place + 3] == ["a", "b", "c"]
        else:
            assert not {"b", "c"} & set(inside)
    assert len(seen) > 8


def alternatives(caption: str, count: int = 200, **rules: Any) -> Counter[str]:
    chosen = CaptionRules(**rules)
    return Counter(
        with_alternatives_chosen(caption, chosen, generator(7, "alternatives", "a", n)) for n in range(count)
    )


def test_wildcards_stand_for_one_of_their_alternatives() -> None:
    seen = alternatives("a {red|blue|} {cat|{small|large} dog}", 600, wildcards=True)
    colours, things = ("red", "blue", ""), ("cat", "small dog", "large dog")
    assert set(seen) == {f"a {colour} {thing}" for colour in colours for thing in things}
    assert seen["a red cat"] == pytest.approx(100, abs=35)


@pytest.mark.parametrize(
    ("caption", "rules", "seen"),
    [
        ("a {red|blue} cat", {}, {"a {red|blue} cat"}),
        ("a {red} {cat", {"wildcards": True}, {"a {red} {cat"}),
        ("{a|b", {"wildcards": True}, {"{a|b"}),
        ("one, two\nthree", {"lines_as_alternatives": True}, {"one, two", "three"}),
        ("one\n{two|three}", {"lines_as_alternatives": True, "wildcards": True}, {"one", "two", "three"}),
        ("", {"lines_as_alternatives": True, "wildcards": True}, {""}),
    ],
)
def test_alternatives(caption: str, rules: dict[str, Any], seen: set[str]) -> None:
    assert set(alternatives(caption, **rules)) == seen


@settings(max_examples=50)
@given(st.text(alphabet="{}|ab ", max_size=60))
def test_choosing_ends_and_leaves_no_choice(caption: str) -> None:
    (chosen,) = alternatives(caption, 1, wildcards=True)
    assert not re.search(r"\{[^{}]*\|[^{}]*\}", chosen)


def test_what_can_vary_says_so() -> None:
    assert not CaptionRules(keep_tags=3, caption_dropout=0.5).varies
    rules: list[dict[str, Any]] = [{"shuffle_tags": True}, {"tag_dropout": 0.1}, {"wildcards": True}]
    assert all(CaptionRules(**rule).varies for rule in [*rules, {"lines_as_alternatives": True}])


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


def test_a_tag_behind_any_separator_is_in_no_sentence() -> None:
    rules = CaptionRules(keep_separator="|||", group_separator=";;;", lines_as_alternatives=True)
    assert not has_tag_in_sentence("a ||| sks b;;;sks c\nsks d", "sks", rules)
    assert has_tag_in_sentence("a ||| b\nmy sks", "sks", rules)
