"""What a spec leaves open of captions and new tokens, filled in. Pure."""

from __future__ import annotations

from loramill import v1
from service.defaults import choose, default

NEW_TOKENS_RATE = 1e-3


def resolve_text(spec: v1.TrainingSpec) -> None:
    """How captions are read, and for each concept its new tokens and whether its tag is checked."""
    default(spec.text, "max_tokens", 75)
    finds_rates = spec.optimization.optimizer == v1.OPTIMIZER_PRODIGY
    for concept in (spec.concept, *spec.concepts):
        pivotal = concept.pivotal
        if pivotal.tokens:
            default(pivotal, "learning_rate", 1.0 if finds_rates else NEW_TOKENS_RATE)
            choose(pivotal, "encoders", v1.PIVOTAL_ENCODERS_ALL)
            choose(pivotal, "initial_words", concept.class_words)
        if concept.activation_tag:
            default(concept, "check_tag", not pivotal.tokens)
