"""The base's tokenizer: a token for each word that it knows, and none for what it must not know."""

from __future__ import annotations

import pytest
from transformers import CLIPTokenizer

from trainer.builtin.shapes import draw
from trainer.builtin.shapes.vocabulary import make_tokenizer

KNOWN = [shape for shape in draw.SHAPES if shape not in draw.HELD_OUT]


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return make_tokenizer(KNOWN)


def _length(tokenizer: CLIPTokenizer, text: str) -> int:
    """Tokens without start and end."""
    return len(tokenizer(text).input_ids) - 2


@pytest.mark.parametrize("word", [*draw.COLORS, *draw.BACKGROUNDS, *KNOWN, "a", "an", "on", "background", "striped"])
def test_a_known_word_is_one_token(tokenizer: CLIPTokenizer, word: str) -> None:
    assert _length(tokenizer, word) == 1


@pytest.mark.parametrize("word", [*draw.HELD_OUT, "lumi"])
def test_a_word_that_it_never_met_is_spelled(tokenizer: CLIPTokenizer, word: str) -> None:
    ids = tokenizer(word).input_ids[1:-1]
    assert len(ids) > 1
    assert "".join(tokenizer.convert_ids_to_tokens(ids)).removesuffix("</w>") == word


def test_a_caption_is_as_many_tokens_as_words(tokenizer: CLIPTokenizer) -> None:
    assert _length(tokenizer, "a red star on a sky background") == 7
    padded = tokenizer("a red star on a sky background", padding="max_length").input_ids
    assert len(padded) == 77


def test_making_it_again_gives_the_same_tokens(tokenizer: CLIPTokenizer) -> None:
    assert make_tokenizer(KNOWN).get_vocab() == tokenizer.get_vocab()
