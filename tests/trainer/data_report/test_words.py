"""What captions have in common."""

from __future__ import annotations

import pytest

from trainer.data_report.words import caption_facts, parts_of, words_of


def test_tags_and_words_are_counted_by_captions() -> None:
    found = caption_facts([("cat", "red", "red"), ("cat", "on grass"), ("dog", "red")], ["", "", ""])
    assert found.tags[:2] == (("cat", 2), ("red", 2))
    assert dict(found.words) == {"cat": 2, "red": 2, "grass": 1, "dog": 1}
    assert found.tokens is None
    assert found.too_long == []


def test_sentences_have_words_and_no_tags() -> None:
    found = caption_facts([("a red cat on grass",), ("the blue cat",)], ["", ""])
    assert found.tags == ()
    assert found.words[0] == ("cat", 2)
    assert words_of("Can't see l'été, THE cat-like 2nd") == {"can't", "see", "l'été", "cat-like", "2nd"}


def test_identical_and_empty_captions_are_named_by_their_places() -> None:
    found = caption_facts([("cat",), (), ("cat",), ("dog",), ()], [""] * 5)
    assert found.identical == [("cat", [0, 2])]
    assert found.empty == [1, 4]
    assert found.distinct == 3


def test_each_text_is_counted_once() -> None:
    asked: list[str] = []

    def counted(text: str) -> int:
        asked.append(text)
        return len(text)

    found = caption_facts([(), (), ()], ["ab", "abcd", "ab"], counted, token_limit=3)
    assert found.tokens == (2, 4, 2)
    assert found.too_long == [1]
    assert sorted(asked) == ["ab", "abcd"]


@pytest.mark.parametrize(
    ("caption", "parts"),
    [
        ("a red star", [("red", "a star"), ("star", "a red")]),
        ("a cat, on grass", [("a cat", "on grass"), ("on grass", "a cat")]),
        ("star", [("star", "")]),
        ("", []),
        ("1 2 3 4 5 6 7 8 9", [("1", "2 3 4 5 6 7 8 9")]),
    ],
)
def test_a_caption_falls_into_parts(caption: str, parts: list[tuple[str, str]]) -> None:
    found = parts_of(caption)
    assert found[: len(parts)] == parts
    assert len(found) == (8 if caption.startswith("1") else len(parts))
