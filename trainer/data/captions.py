"""The caption of one visit: activation tag, prefix, tags, suffix. Pure; randomness is passed in."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from trainer.data.rules import CaptionRules


def parse_tags(caption: str) -> tuple[str, ...]:
    """The comma-separated parts of a caption, without empty ones; runs of white space become one space."""
    parts = (" ".join(part.split()) for part in caption.split(","))
    return tuple(part for part in parts if part)


def caption_of_visit(caption: str, rules: CaptionRules, activation_tag: str, draws: np.random.Generator) -> str:
    """What the text encoder reads at one visit of a picture with this raw caption.

    The activation tag, unless it is empty, comes first and once, whatever is shuffled and dropped behind it. Only a
    dropped caption goes without it: then the visit is unconditional, and "" is returned.

    `draws` is a fresh stream for the visit. It is read in the same order whatever the rules say, so that changing one
    rule leaves the draws of the others alone.
    """
    tags = _without(parse_tags(caption), activation_tag)
    dropped_whole = draws.random() < rules.caption_dropout
    dropped = draws.random(len(tags)) < rules.tag_dropout
    places = draws.permutation(len(tags))
    if dropped_whole:
        return ""

    kept = list(tags[: rules.keep_tags])
    order: Iterable[int] = places if rules.shuffle_tags else range(len(tags))
    rest = [tags[place] for place in order if place >= rules.keep_tags and not dropped[place]]
    prefix = _without(parse_tags(rules.prefix), activation_tag)
    suffix = _without(parse_tags(rules.suffix), activation_tag)
    return ", ".join([*parse_tags(activation_tag), *prefix, *kept, *rest, *suffix])


def has_tag_in_sentence(caption: str, activation_tag: str) -> bool:
    """Whether the activation tag stands as a word inside a tag or sentence, where it is left as the user wrote it."""
    if not activation_tag:
        return False
    word = re.compile(rf"(?<!\w){_pattern(activation_tag)}(?!\w)", re.IGNORECASE)
    return any(word.search(tag) for tag in _without(parse_tags(caption), activation_tag))


def _without(tags: tuple[str, ...], activation_tag: str) -> tuple[str, ...]:
    """The tags without the activation tag, neither as a tag of its own nor as the first words of one.

    Upper and lower case count as equal, as they do for CLIP's tokenizer.
    """
    if not activation_tag:
        return tags
    leading = re.compile(rf"(?:{_pattern(activation_tag)}(?:\s+|$))+", re.IGNORECASE)
    stripped = (leading.sub("", tag, count=1) if leading.match(tag) else tag for tag in tags)
    return tuple(tag for tag in stripped if tag)


def _pattern(activation_tag: str) -> str:
    return r"\s+".join(re.escape(word) for word in activation_tag.split())
