"""Activation tags as words in captions, and what becomes of them in programs that draw. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class NewTag:
    """A tag, and the ids that it is read as."""

    tag: str
    ids: tuple[int, ...]


def tag_pattern(tag: str) -> re.Pattern[str]:
    """The tag as words of their own; upper and lower case count as equal, as they do for CLIP."""
    words = r"\s+".join(re.escape(word) for word in tag.split())
    return re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)


def new_tags(wanted: Sequence[tuple[str, int]]) -> list[NewTag]:
    """For each (tag, number of tokens), ids that no other has: -1, -2, …"""
    tags: list[NewTag] = []
    first = 0
    for tag, count in wanted:
        tags.append(NewTag(tag, tuple(-(first + place + 1) for place in range(count))))
        first += count
    return tags


def name_of_embedding(tag: str) -> str:
    """What a tag's embedding is called where files, or words without spaces, are named: `lumi`, `lumi-heart`."""
    return re.sub(r"[^\w-]+", "-", tag).strip("-") or "tag"


def with_tags_called(prompt: str, names: dict[str, str]) -> str:
    """The prompt with each tag replaced by its name there, the longest tag first."""
    for tag in sorted(names, key=len, reverse=True):
        prompt = tag_pattern(tag).sub(names[tag].replace("\\", r"\\"), prompt)
    return prompt
