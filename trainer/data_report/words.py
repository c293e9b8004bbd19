"""What captions have in common, and what they lack. Pure."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

MOST_SHOWN = 40
MOST_PARTS = 8
"""Parts that a caption is asked about by; longer ones have several words in a part."""
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_LITTLE = frozenset(
    (
        "a",
        "an",
        "and",
        "as",
        "at",
        "by",
        "for",
        "from",
        "in",
        "into",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "the",
        "to",
        "with",
    )
)


@dataclass(frozen=True, kw_only=True)
class CaptionFacts:
    """Of all captions of a dataset."""

    tags: Sequence[tuple[str, int]]
    """The most frequent tags, each with the number of captions that have it; empty where captions are sentences."""
    words: Sequence[tuple[str, int]]
    """The same of words, without the little ones such as "of"."""
    distinct: int
    identical: Sequence[tuple[str, Sequence[int]]]
    """Captions that two pictures or more have, with their places; most frequent first."""
    empty: Sequence[int]
    """Places of the pictures whose caption says nothing."""
    tokens: Sequence[int] | None
    """Of each caption as it is trained with, start and end left out; None where nobody could count them."""
    token_limit: int | None
    """As many fit the text encoder."""

    @property
    def too_long(self) -> list[int]:
        """Places of captions that are cut."""
        if self.tokens is None or self.token_limit is None:
            return []
        return [place for place, count in enumerate(self.tokens) if count > self.token_limit]


def caption_facts(
    captions: Sequence[Sequence[str]],
    texts: Sequence[str],
    counted: Callable[[str], int] | None = None,
    token_limit: int | None = None,
) -> CaptionFacts:
    """`captions` are the tags of each picture's own caption, `texts` what the text encoder will read of it."""
    joined = [", ".join(tags) for tags in captions]
    places: dict[str, list[int]] = {}
    for place, caption in enumerate(joined):
        places.setdefault(caption, []).append(place)
    identical = sorted(
        ((text, of) for text, of in places.items() if len(of) > 1 and text), key=lambda one: -len(one[1])
    )
    has_tags = sum(len(tags) for tags in captions) >= 2 * len(captions)
    return CaptionFacts(
        tags=_frequent(set(tags) for tags in captions) if has_tags else (),
        words=_frequent(words_of(caption) for caption in joined),
        distinct=len(places),
        identical=identical,
        empty=[place for place, caption in enumerate(joined) if not caption],
        tokens=_counted(texts, counted) if counted else None,
        token_limit=token_limit,
    )


def words_of(caption: str) -> set[str]:
    """The words of a caption, in small letters, but for the little ones."""
    return {word for word in (match[0].lower() for match in _WORD.finditer(caption)) if word not in _LITTLE}


def bare(text: str, activation_tag: str) -> str:
    """A caption as it is trained, without the activation tag in front, of which the base knows nothing."""
    tag = " ".join(activation_tag.split())
    if not tag or not text.startswith(tag):
        return text
    return text[len(tag) :].lstrip(" ,.;|")


def parts_of(caption: str) -> list[tuple[str, str]]:
    """(part, the caption without it) of at most MOST_PARTS parts: tags where there are several, else words that say something."""
    tags = [tag.strip() for tag in caption.split(",") if tag.strip()]
    if len(tags) > 1:
        return [(", ".join(group), ", ".join(rest)) for group, rest in _groups(tags)]
    words = caption.split()
    telling = [place for place, word in enumerate(words) if words_of(word)]
    found = []
    for group, _ in _groups(telling):
        rest = " ".join(word for place, word in enumerate(words) if place not in group)
        found.append((" ".join(words[place] for place in group), rest))
    return found


def _groups(items: Sequence[T]) -> list[tuple[list[T], list[T]]]:
    """(some neighbours, all others), at most MOST_PARTS times, so that each item is among some once."""
    count = min(len(items), MOST_PARTS)
    edges = [part * len(items) // count for part in range(count + 1)] if count else []
    return [(list(items[start:end]), [*items[:start], *items[end:]]) for start, end in itertools.pairwise(edges)]


def _frequent(sets: Iterable[set[str]]) -> tuple[tuple[str, int], ...]:
    counts = Counter(one for each in sets for one in each)
    return tuple(sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:MOST_SHOWN])


def _counted(texts: Sequence[str], counted: Callable[[str], int]) -> tuple[int, ...]:
    known: Mapping[str, int] = {text: counted(text) for text in set(texts)}
    return tuple(known[text] for text in texts)
