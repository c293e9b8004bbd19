"""The caption of one visit: activation tag, prefix, tags, suffix. Pure; randomness is passed in."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from trainer.data.rules import CaptionRules

Group = tuple[str, ...]
"""Tags that stay together."""

_CHOICE = re.compile(r"\{([^{}|]*(?:\|[^{}|]*)+)\}")
"""`{a|b}` with no braces inside."""
_LONGEST = 4096
"""Characters of a caption with its alternatives chosen; no text encoder reads more, and nested braces must not explode."""


def parse_tags(caption: str, separator: str = ",") -> tuple[str, ...]:
    """The parts of a caption between separators, without empty ones; runs of white space become one space."""
    parts = (" ".join(part.split()) for part in caption.split(separator))
    return tuple(part for part in parts if part)


def tags_of(caption: str, rules: CaptionRules) -> tuple[str, ...]:
    """Every tag of a caption as it is written, of all its lines and groups; alternatives in braces stay as they are."""
    for separator in filter(None, ("\n", rules.keep_separator, rules.group_separator)):
        caption = caption.replace(separator, rules.separator)
    return parse_tags(caption, rules.separator)


def with_alternatives_chosen(caption: str, rules: CaptionRules, draws: np.random.Generator) -> str:
    """One line of a caption of several, and one alternative for each `{a|b}` in it, the inner ones first."""
    if rules.lines_as_alternatives and "\n" in caption:
        lines = caption.splitlines()
        caption = lines[int(draws.integers(len(lines)))]
    if not rules.wildcards:
        return caption

    def chosen(match: re.Match[str]) -> str:
        alternatives = match[1].split("|")
        return alternatives[int(draws.integers(len(alternatives)))]

    # Each round removes a pair of braces for every match, so that it ends.
    while _CHOICE.search(caption):
        caption = _CHOICE.sub(chosen, caption)
    return caption[:_LONGEST]


def caption_of_visit(caption: str, rules: CaptionRules, activation_tag: str, draws: np.random.Generator) -> str:
    """What the text encoder reads at one visit of a picture with this caption, its alternatives chosen.

    The activation tag, unless it is empty, comes first and once, whatever is shuffled and dropped behind it. Only a
    dropped caption goes without it: then the visit is unconditional, and "" is returned.

    `draws` is a fresh stream for the visit. It is read in the same order whatever the rules say, so that changing one
    rule leaves the draws of the others alone.
    """
    tags, keep, end = _parted(caption, rules, activation_tag)
    dropped_whole = draws.random() < rules.caption_dropout
    dropped = draws.random(len(tags)) < rules.tag_dropout
    places = draws.permutation(len(tags))
    if dropped_whole:
        return ""

    order: Iterable[int] = places if rules.shuffle_tags else range(len(tags))
    rest = [tags[place] for place in order if place >= keep and not dropped[place]]
    prefix, suffix = (_groups(text, rules, activation_tag) for text in (rules.prefix, rules.suffix))
    tag = " ".join(activation_tag.split())
    parts = [part for group in ((tag,) if tag else (), *prefix, *tags[:keep], *rest, *end, *suffix) for part in group]
    return f"{rules.separator} ".join(parts)


def has_tag_in_sentence(caption: str, activation_tag: str, rules: CaptionRules) -> bool:
    """Whether the activation tag stands as a word inside a tag or sentence, where it is left as the user wrote it."""
    if not activation_tag:
        return False
    word = re.compile(rf"(?<!\w){_pattern(activation_tag)}(?!\w)", re.IGNORECASE)
    return any(word.search(tag) for tag in _without(tags_of(caption, rules), activation_tag))


def _parted(caption: str, rules: CaptionRules, activation_tag: str) -> tuple[list[Group], int, list[Group]]:
    """The groups that can move, how many of them at the front do not, and those that stay at the end."""
    if not rules.keep_separator or rules.keep_separator not in caption:
        return _groups(caption, rules, activation_tag), rules.keep_tags, []
    parts = caption.split(rules.keep_separator)
    texts = (parts[0], parts[1], rules.separator.join(parts[2:]))
    front, middle, end = (_groups(text, rules, activation_tag) for text in texts)
    return front + middle, len(front), end


def _groups(text: str, rules: CaptionRules, activation_tag: str) -> list[Group]:
    tags = parse_tags(text, rules.separator)
    joined = [parse_tags(tag, rules.group_separator) if rules.group_separator else (tag,) for tag in tags]
    groups = (_without(group, activation_tag) for group in joined)
    return [group for group in groups if group]


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
