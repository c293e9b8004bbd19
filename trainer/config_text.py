"""How a job reads captions, and what it learns of them beside the adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TextEncoderName = Literal["text_encoder", "text_encoder_2"]


@dataclass(frozen=True, kw_only=True)
class PivotalConfig:
    """New tokens for an activation tag, whose embeddings are trained."""

    tag: str
    tokens: int
    learning_rate: float
    """At the peak of the schedule."""
    initial_words: str
    """Whose tokens' embeddings they begin from; empty: drawn like the vocabulary."""
    encoders: tuple[TextEncoderName, ...]
    """Where they are trained."""


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Captions as text."""

    max_tokens: int
    """Tokens of a caption that are read: 75, 150 or 225."""
    pivotal: tuple[PivotalConfig, ...]
    """One of each tag that has new tokens."""
    tags_to_check: tuple[str, ...]
    """Activation tags that are held against the base before training."""
