"""What is wrong with how a spec has captions read, and with the new tokens that it asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from loramill import v1
from service.errors import Violation
from service.family_validation import has_second_text_encoder


def violations_of_text(spec: v1.TrainingSpec, base: v1.BaseModel | None, path: str) -> Iterator[Violation]:
    """`base` is what the spec names; None where there is no such base model."""
    if spec.text.HasField("max_tokens") and spec.text.max_tokens not in (75, 150, 225):
        field = f"{path}.text.max_tokens"
        text = f"{field} is {spec.text.max_tokens}, but must be 75, 150 or 225; choose one of them, or leave it out."
        yield Violation(field, text)
    tags: dict[str, str] = {}
    for concept, place in _concepts(spec, path):
        field = f"{place}.pivotal"
        if concept.pivotal.tokens > 0:
            yield from _of_new_tokens(concept, spec, base, field)
            tag = concept.activation_tag.lower()
            if tag and tag in tags:
                text = f"{field} asks for new tokens of {concept.activation_tag!r}, as {tags[tag]} does; leave one of them out."
                yield Violation(field, text, "DUPLICATE")
            tags.setdefault(tag, field)
        else:
            yield from _without_tokens(concept.pivotal, field)
        if concept.check_tag and not concept.activation_tag:
            text = (
                f"{place}.check_tag is true, but there is no activation_tag to check; give one, or leave check_tag out."
            )
            yield Violation(f"{place}.check_tag", text, "CONFLICT")


def _concepts(spec: v1.TrainingSpec, path: str) -> Iterator[tuple[v1.ConceptSpec, str]]:
    yield spec.concept, f"{path}.concept"
    for index, concept in enumerate(spec.concepts[:32]):
        yield concept, f"{path}.concepts[{index}]"


def _of_new_tokens(
    concept: v1.ConceptSpec, spec: v1.TrainingSpec, base: v1.BaseModel | None, field: str
) -> Iterator[Violation]:
    if concept.kind == v1.CONCEPT_KIND_MODIFIED:
        text = (
            f"{field} asks for new tokens, but a concept of kind MODIFIED has no activation_tag to be read as them; leave it "
            "out, or set kind to NEW and give a tag."
        )
        yield Violation(field, text, "CONFLICT")
    elif not concept.activation_tag:
        text = f"{field} asks for new tokens, but there is no activation_tag to be read as them; give one, or leave it out."
        yield Violation(field, text, "CONFLICT")
    second = concept.pivotal.encoders == v1.PIVOTAL_ENCODERS_TEXT_ENCODER_2
    if second and base is not None and not has_second_text_encoder(base.family):
        text = (
            f"{field}.encoders is TEXT_ENCODER_2, but a base of family {base.family} has one text encoder; choose ALL, or leave "
            "it out."
        )
        yield Violation(f"{field}.encoders", text, "CONFLICT")
    if concept.check_tag:
        text = (
            f"{field} asks for new tokens, with which the base never reads the tag that check_tag asks to check; leave one of "
            "them out."
        )
        yield Violation(field, text, "CONFLICT")
    if spec.adapter.initial_adapter:
        text = (
            f"{field} asks for new tokens, but a job that goes on from an adapter cannot bring the embeddings of its tag yet; "
            "leave it out, or begin anew."
        )
        yield Violation(field, text, "NOT_SUPPORTED")


def _without_tokens(pivotal: v1.PivotalSpec, field: str) -> Iterator[Violation]:
    """What is set though there are no new tokens."""
    given = {
        "learning_rate": pivotal.HasField("learning_rate"),
        "initial_words": bool(pivotal.initial_words),
        "encoders": pivotal.encoders != v1.PIVOTAL_ENCODERS_UNSPECIFIED,
    }
    for name, is_set in given.items():
        if is_set:
            text = f"{field}.{name} is set, but there are no new tokens; set {field}.tokens, or leave it out."
            yield Violation(f"{field}.{name}", text, "CONFLICT")
