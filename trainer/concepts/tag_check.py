"""Whether an activation tag is a good one: what the base was measured to make of it → a finding with its reasons. Pure.

A good tag means nothing yet. A tag that the base has met pulls what it means into the pictures, and training has to unlearn it
first. Three things tell: how the tokenizer splits it (a word that is one token of the vocabulary was frequent once), how near
its tokens lie to known words, and how strongly the base answers to it: E‖ε̂(∅) - ε̂(tag)‖², held against the same for ordinary
words and for made-up tags. (The magnitude is what Wen et al., ICLR 2024, "Detecting, Explaining, and Mitigating Memorization in
Diffusion Models", measure for whole prompts.)
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trainer.draws import generator

REFERENCES = 8
"""Ordinary words, and made-up tags, that a tag is held against."""

LONG = 8
"""Tokens of a tag above which it is said to be long."""

_OF_ORDINARY = 0.2
"""Share of the median strength of ordinary words above which a tag of known words counts as one of them."""

_ABOVE_MADE_UP = 2.0
"""How many times the strongest made-up tag a tag counts as drawing something, however it is spelled."""

_ORDINARY = (
    "dog", "cat", "car", "tree", "house", "woman", "flower", "bird", "boat", "horse", "chair", "mountain", "star", "ring",
    "circle", "square", "red", "blue", "green", "sky", "night", "white", "yellow", "sand",
)  # fmt: skip
_BEGINNINGS, _VOWELS, _ENDS = "bdfgklmnprtvwyz", "aeiou", ("lm", "rp", "sk", "nk", "x", "zz", "lt", "rb", "mp", "g")


@dataclass(frozen=True)
class Neighbour:
    """A token of the tag, and the known word whose embedding is most like its."""

    piece: str
    word: str
    similarity: float
    """Cosine, -1 to 1."""


@dataclass(frozen=True)
class Split:
    """A tag as one text encoder reads it."""

    encoder: str
    neighbours: tuple[Neighbour, ...]
    """One of each token."""
    is_of_known_words: bool
    """Whether each word of the tag is one token."""


@dataclass(frozen=True, kw_only=True)
class TagFinding:
    """What was found of a tag."""

    tag: str
    splits: tuple[Split, ...]
    strength: float
    """E‖ε̂(∅) - ε̂(tag)‖², a mean over latents and pairs (t, ε)."""
    ordinary: Mapping[str, float]
    """The same for ordinary words that the vocabulary has."""
    made_up: Mapping[str, float]
    """The same for made-up tags."""
    reasons: tuple[str, ...]
    """Why it is not a good tag; none if it is."""
    suggestions: tuple[str, ...]
    """Made-up tags to which the base answers least."""

    @property
    def is_good(self) -> bool:
        return not self.reasons

    @property
    def sentence(self) -> str:
        """For people."""
        if self.is_good:
            return f"The activation tag {self.tag!r} means nothing to the base that would stand in the way."
        return (
            f"The activation tag {self.tag!r} is not a good one: {'; '.join(self.reasons)}. Better ones for this base are "
            f"{', '.join(repr(tag) for tag in self.suggestions)}."
        )


def ordinary_words(is_token: Callable[[str], bool]) -> list[str]:
    """Words that people caption with and that are one token of the base's vocabulary, REFERENCES at most."""
    return [word for word in _ORDINARY if is_token(word)][:REFERENCES]


def made_up_tags(is_token: Callable[[str], bool]) -> list[str]:
    """Words that nobody has met, always the same for a vocabulary: they can be said, and no vocabulary that was seen has them."""
    draws, tags = generator(0, "made-up tags"), list[str]()
    while len(tags) < REFERENCES:
        first, vowel, end = (int(draws.integers(len(part))) for part in (_BEGINNINGS, _VOWELS, _ENDS))
        tag = f"{_BEGINNINGS[first]}{_VOWELS[vowel]}{_ENDS[end]}"
        if tag not in tags and not is_token(tag):
            tags.append(tag)
    return tags


def judged(tag: str, splits: Sequence[Split], strengths: Mapping[str, float], made_up: Sequence[str]) -> TagFinding:
    """A finding on a tag; `strengths` are of the tag, of ordinary words and of the made-up tags."""
    ordinary = {word: value for word, value in strengths.items() if word != tag and word not in made_up}
    others = {word: strengths[word] for word in made_up if word != tag}
    return TagFinding(
        tag=tag,
        splits=tuple(splits),
        strength=strengths[tag],
        ordinary=ordinary,
        made_up=others,
        reasons=tuple(_reasons(splits, strengths[tag], ordinary, others)),
        suggestions=tuple(sorted(others, key=lambda word: others[word])[:3]),
    )


def _reasons(
    splits: Sequence[Split], strength: float, ordinary: Mapping[str, float], made_up: Mapping[str, float]
) -> Iterator[str]:
    usual = statistics.median(ordinary.values()) if ordinary else 0.0
    if ordinary and any(split.is_of_known_words for split in splits) and strength >= _OF_ORDINARY * usual:
        yield (
            f"the vocabulary has it as a word, and the base answers to it {strength / usual:.2g} times as strongly as to "
            "ordinary words"
        )
    elif strength >= _ABOVE_MADE_UP * max(made_up.values()) and strength >= usual:
        yield (
            "the base already draws something for it: it answers "
            f"{strength / statistics.median(made_up.values()):.2g} times as strongly as to made-up tags"
        )
    tokens = max(len(split.neighbours) for split in splits)
    if tokens > LONG:
        yield f"it is split into {tokens} tokens, of the 75 that a caption has room for"
