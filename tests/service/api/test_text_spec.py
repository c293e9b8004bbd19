"""How captions are read and new tokens for a tag: what is refused, and what is filled in."""

from __future__ import annotations

import pytest

from loramill import v1
from loramill.spec import read_spec
from service.presets import resolve
from service.text_validation import violations_of_text
from service.validation import violations

SHAPES = v1.BaseModel(name="baseModels/shapes", family="sd15", resolution=64)
SDXL = v1.BaseModel(name="baseModels/xl", family="sdxl", resolution=1024)
BASE = "base_model: shapes\ndataset: d\n"
NEW = "concept: {activation_tag: zyx, pivotal: {tokens: 2}}\n"

REFUSED = {
    "a limit between": ("text: {max_tokens: 100}", "text.max_tokens is 100, but must be 75, 150 or 225"),
    "no limit at all": ("text: {max_tokens: 0}", "text.max_tokens is 0, but must be 75, 150 or 225"),
    "no tag": ("concept: {class_words: dog, pivotal: {tokens: 2}}", "there is no activation_tag to be read as them"),
    "modified": (
        "concept: {kind: modified, class_words: dog, pivotal: {tokens: 2}}",
        "a concept of kind MODIFIED has no activation_tag",
    ),
    "no second encoder": (
        "concept: {activation_tag: zyx, pivotal: {tokens: 2, encoders: text_encoder_2}}",
        "a base of family sd15 has one text encoder",
    ),
    "tag checked, and not read": (
        "concept: {activation_tag: zyx, check_tag: true, pivotal: {tokens: 2}}",
        "with which the base never reads the tag",
    ),
    "no tag to check": ("concept: {class_words: dog, check_tag: true}", "no activation_tag to check"),
    "a rate without tokens": (
        "concept: {activation_tag: zyx, pivotal: {learning_rate: 0.1}}",
        "concept.pivotal.learning_rate is set, but there are no new tokens",
    ),
    "words without tokens": (
        "concept: {activation_tag: zyx, pivotal: {tokens: 0, initial_words: dog}}",
        "concept.pivotal.initial_words is set, but there are no new tokens",
    ),
    "encoders without tokens": (
        "concept: {activation_tag: zyx, pivotal: {encoders: all}}",
        "concept.pivotal.encoders is set, but there are no new tokens",
    ),
    "the same tag twice": (
        f"{NEW}concepts: [{{activation_tag: ZYX, pivotal: {{tokens: 1}}}}]",
        "concepts[0].pivotal asks for new tokens of 'ZYX', as spec.concept.pivotal does",
    ),
    "going on": (f"{NEW}adapter: {{initial_adapter: x-final}}", "cannot bring the embeddings of its tag yet"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_contradicts_itself_is_refused(case: str) -> None:
    text, expected = REFUSED[case]
    found = list(violations_of_text(read_spec(BASE + text), SHAPES, "spec"))
    assert len(found) == 1, found
    assert expected in found[0].description


@pytest.mark.parametrize(
    "text",
    [
        NEW,
        "text: {max_tokens: 225}",
        "concept: {activation_tag: zyx, check_tag: true}",
        "concept: {activation_tag: zyx, pivotal: {tokens: 0}}",
        f"{NEW}concepts: [{{activation_tag: other, pivotal: {{tokens: 1}}}}]",
    ],
)
def test_what_goes_together_is_accepted(text: str) -> None:
    assert list(violations_of_text(read_spec(BASE + text), SHAPES, "spec")) == []


def test_a_second_encoder_can_be_chosen_where_there_is_one() -> None:
    spec = read_spec(BASE + "concept: {activation_tag: zyx, pivotal: {tokens: 2, encoders: text_encoder_2}}")
    assert list(violations_of_text(spec, SDXL, "spec")) == []


def test_the_bounds_of_new_tokens_hold_in_a_whole_spec() -> None:
    spec = read_spec(BASE + "concept: {activation_tag: zyx, pivotal: {tokens: 9, learning_rate: 2}}")
    texts = " ".join(violation.description for violation in violations(spec, SHAPES, None))
    assert "concept.pivotal.tokens is 9, but must be 0 to 8" in texts
    assert "concept.pivotal.learning_rate is 2.0, but must be" in texts


def test_what_is_left_open_is_filled_in() -> None:
    plain = resolve(read_spec(BASE + "concept: {activation_tag: zyx}"), SHAPES, 1)
    assert (plain.text.max_tokens, plain.concept.check_tag, plain.concept.pivotal.tokens) == (75, True, 0)
    spec = resolve(
        read_spec(BASE + "concept: {activation_tag: zyx, class_words: dog, pivotal: {tokens: 3}}"), SHAPES, 1
    )
    pivotal = spec.concept.pivotal
    assert (pivotal.learning_rate, pivotal.initial_words) == (1e-3, "dog")
    assert pivotal.encoders == v1.PIVOTAL_ENCODERS_ALL
    assert spec.concept.check_tag is False
    assert not resolve(read_spec(BASE + "concept: {class_words: dog}"), SHAPES, 1).concept.HasField("check_tag")
