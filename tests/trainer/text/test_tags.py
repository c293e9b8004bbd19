from __future__ import annotations

import pytest

from trainer.text.new_tokens import NewTokens
from trainer.text.tags import name_of_embedding, new_tags, with_tags_called


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("lumi", [-1, -2]),
        ("a lumi, LUMI", [1, -1, -2, 1, -1, -2]),
        ("luminous", [1]),
        ("lumi heart", [-3]),
        ("a lumi  heart", [1, -3]),
        ("", []),
    ],
)
def test_which_words_become_new_tokens(caption: str, expected: list[int]) -> None:
    tokens = NewTokens(new_tags([("lumi", 2), ("Lumi heart", 1)]), lambda: False)
    assert tokens.token_ids(caption, lambda text: [1] if text.strip() else []) == expected
    off = NewTokens(new_tags([("lumi", 2)]), lambda: True)
    assert off.token_ids(caption, lambda _: [9]) == [9]


@pytest.mark.parametrize(
    ("tag", "expected"), [("lumi", "lumi"), ("lumi heart", "lumi-heart"), ("日本 / 2", "日本-2"), ("!!", "tag")]
)
def test_what_an_embedding_is_called(tag: str, expected: str) -> None:
    assert name_of_embedding(tag) == expected


def test_the_longest_tag_is_called_first() -> None:
    assert with_tags_called("a b, a", {"a": "x", "a b": "y"}) == "y, x"
