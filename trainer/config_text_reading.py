"""The spec's part on text → `TextConfig`."""

from __future__ import annotations

from collections.abc import Iterator

from loramill import v1
from trainer.config_text import PivotalConfig, TextConfig, TextEncoderName
from trainer.text.chunks import LARGEST, ROOM

_ENCODERS: dict[int, tuple[TextEncoderName, ...]] = {
    v1.PIVOTAL_ENCODERS_UNSPECIFIED: ("text_encoder", "text_encoder_2"),
    v1.PIVOTAL_ENCODERS_ALL: ("text_encoder", "text_encoder_2"),
    v1.PIVOTAL_ENCODERS_TEXT_ENCODER: ("text_encoder",),
    v1.PIVOTAL_ENCODERS_TEXT_ENCODER_2: ("text_encoder_2",),
}


def text(spec: v1.TrainingSpec, problems: list[str]) -> TextConfig:
    """How captions are read; what cannot be done is added to `problems`."""
    most = spec.text.max_tokens if spec.text.HasField("max_tokens") else ROOM
    if most % ROOM or not ROOM <= most <= LARGEST:
        problems.append(f"text.max_tokens is {most}, which this trainer cannot do; it can do: 75, 150, 225.")
    concepts = (spec.concept, *spec.concepts)
    return TextConfig(
        max_tokens=most,
        pivotal=tuple(_pivotal(concepts, problems)),
        tags_to_check=tuple(concept.activation_tag for concept in concepts if _is_checked(concept)),
    )


def _is_checked(concept: v1.ConceptSpec) -> bool:
    asked = concept.check_tag if concept.HasField("check_tag") else not concept.pivotal.tokens
    return bool(concept.activation_tag) and asked


def _pivotal(concepts: tuple[v1.ConceptSpec, ...], problems: list[str]) -> Iterator[PivotalConfig]:
    for concept in concepts:
        given = concept.pivotal
        if not given.tokens:
            continue
        if not concept.activation_tag:
            problems.append("concept.pivotal asks for new tokens, but there is no activation_tag to be read as them.")
        if given.encoders not in _ENCODERS:
            problems.append("concept.pivotal.encoders is not supported by this trainer.")
        yield PivotalConfig(
            tag=concept.activation_tag,
            tokens=given.tokens,
            learning_rate=given.learning_rate if given.HasField("learning_rate") else 1e-3,
            initial_words=given.initial_words or concept.class_words,
            encoders=_ENCODERS.get(given.encoders, ()),
        )
