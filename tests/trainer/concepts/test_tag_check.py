from __future__ import annotations

import pytest

from trainer.concepts.tag_check import REFERENCES, Neighbour, Split, judged, made_up_tags, ordinary_words

MADE_UP = ("zorp", "bulm", "vexx")
USUAL = {"dog": 1.0, "cat": 2.0, "car": 4.0, "zorp": 0.1, "bulm": 0.2, "vexx": 0.3}


def split(tokens: int, known: bool) -> Split:
    return Split("text_encoder", tuple(Neighbour(f"p{place}", "dog", 0.3) for place in range(tokens)), known)


@pytest.mark.parametrize(
    ("strength", "tokens", "known", "reasons"),
    [
        (0.1, 2, False, []),
        (0.5, 2, False, []),  # above the made-up tags, but no ordinary word
        (0.5, 1, True, ["the vocabulary has it as a word"]),
        (0.1, 1, True, []),  # a word that the base does next to nothing for
        (2.5, 3, False, ["the base already draws something for it"]),
        (0.1, 9, False, ["it is split into 9 tokens"]),
        (2.5, 9, True, ["the vocabulary has it as a word", "it is split into 9 tokens"]),
    ],
)
def test_what_makes_a_tag_a_bad_one(strength: float, tokens: int, known: bool, reasons: list[str]) -> None:
    finding = judged("tag", [split(tokens, known)], USUAL | {"tag": strength}, MADE_UP)
    assert len(finding.reasons) == len(reasons), finding.reasons
    assert all(found.startswith(said) for found, said in zip(finding.reasons, reasons, strict=True))
    assert finding.is_good == (not reasons)
    assert "'tag'" in finding.sentence
    assert ("'zorp', 'bulm', 'vexx'" in finding.sentence) == bool(reasons)


def test_a_tag_that_is_a_reference_is_held_against_the_others() -> None:
    finding = judged("cat", [split(1, True)], USUAL, MADE_UP)
    assert "cat" not in finding.ordinary
    assert not finding.is_good
    assert "zorp" not in judged("zorp", [split(2, False)], USUAL, MADE_UP).suggestions


def test_a_base_that_knows_no_ordinary_word_is_asked_by_made_up_tags_alone() -> None:
    strengths = {"zorp": 0.1, "bulm": 0.2, "vexx": 0.3}
    assert judged("tag", [split(1, True)], strengths | {"tag": 0.2}, MADE_UP).is_good
    assert not judged("tag", [split(1, True)], strengths | {"tag": 0.9}, MADE_UP).is_good


def test_the_references_follow_from_the_vocabulary_alone() -> None:
    assert ordinary_words(lambda word: word in ("star", "red", "xyz")) == ["star", "red"]
    assert len(ordinary_words(lambda _: True)) == REFERENCES
    tags = made_up_tags(lambda _: False)
    assert tags == made_up_tags(lambda _: False)
    assert len(set(tags)) == REFERENCES
    assert made_up_tags(lambda word: word == tags[0])[0] == tags[1]
