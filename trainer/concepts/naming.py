"""The texts that a concept is measured under: each caption with its name, without it, the name alone, nothing. Pure."""

from __future__ import annotations

import enum
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.data_report.words import bare, words_of
from trainer.text.tags import tag_pattern

SHARED = 0.6
"""Share of captions from which a word that they are about counts as what they all show."""

_PREPOSITIONS = (
    "about", "above", "across", "against", "along", "among", "around", "as", "at", "before", "behind", "below", "beneath",
    "beside", "between", "by", "during", "for", "from", "in", "inside", "into", "near", "next", "of", "off", "on", "onto",
    "over", "past", "through", "to", "toward", "towards", "under", "upon", "wearing", "while", "with", "within", "without",
)  # fmt: skip
_OF_PICTURES = (
    "photo", "photograph", "picture", "image", "painting", "drawing", "illustration", "sketch", "render", "rendering", "view",
    "scene", "shot", "portrait", "background", "style", "close", "closeup",
)  # fmt: skip
"""Words of pictures themselves: no name of what they show."""
_COLORS = (
    "beige", "black", "blue", "bright", "brown", "cyan", "dark", "golden", "gray", "green", "grey", "light", "magenta", "orange",
    "pale", "pink", "purple", "red", "teal", "turquoise", "violet", "white", "yellow",
)  # fmt: skip
"""What things look like: no name either."""
_SPACES = re.compile(r"\s+")
_LOOSE_COMMAS = re.compile(r"\s*(?:,\s*)+(?=,|$)|^\s*(?:,\s*)+")
_BEFORE_COMMA = re.compile(r"\s+(?=,)")


class CalledBy(enum.StrEnum):
    """How it is known what the pictures show."""

    NAME = "NAME"
    """The job or the captions call it by one."""
    TRIAL = "TRIAL"
    """Nobody does; it is the one of several names that helps the base most."""
    CAPTIONS = "CAPTIONS"
    """Captions call each picture by a name, which is not the same for most."""
    NOBODY = "NOBODY"
    """Captions tell this and that, but not what it is."""


@dataclass(frozen=True, kw_only=True)
class Naming:
    """What is said of some pictures, in order."""

    name: str
    """What the concept may be called, such as "dog"; empty where nothing calls it."""
    named: tuple[str, ...]
    """Each caption with the name, without the activation tag."""
    unnamed: tuple[str, ...]
    """Each caption with neither; where nothing calls the concept, the caption of another picture."""
    by: CalledBy


def naming(texts: Sequence[str], activation_tag: str, name: str, by: CalledBy = CalledBy.NAME) -> Naming:
    """Of captions as they are trained, the activation tag in front or in the sentence."""
    named = [_named(text, activation_tag, name) for text in texts]
    unnamed = [_unnamed(text, activation_tag, name) for text in texts] if name else [*named[1:], *named[:1]]
    return Naming(name=name, named=tuple(named), unnamed=tuple(unnamed), by=by)


def has_tag_inside(texts: Sequence[str], activation_tag: str) -> bool:
    """Whether most captions say the activation tag where others say what is shown: "a red lumi on the beach"."""
    if not activation_tag:
        return False
    found = [bool(tag_pattern(activation_tag).search(bare(text, activation_tag))) for text in texts]
    return 2 * sum(found) > len(found)


def heads(texts: Sequence[str], activation_tag: str) -> list[str]:
    """What all the captions seem to be about, the most frequent first: the last word before the first preposition ("a small red
    star on the beach"), else tags or words that nearly all have. None where the activation tag stands in its place.
    """
    if has_tag_inside(texts, activation_tag):
        return []
    bodies = [_unnamed(text, activation_tag, "") for text in texts]
    least = SHARED * len(bodies)
    about = Counter(words[-1] for body in bodies if (words := _about(body.partition(",")[0])))
    found = [word for word, count in about.most_common() if count >= least]
    if found:
        return found
    common = Counter(word for body in bodies for word in _things(body))
    return [word for word, count in sorted(common.items(), key=lambda one: (-one[1], one[0])) if count >= least][:4]


def calls_things(texts: Sequence[str], activation_tag: str) -> bool:
    """Whether most captions have a word for what they show, be it another in each: "red on a sky background" has none."""
    found = [bool(_things(_unnamed(text, activation_tag, ""))) for text in texts]
    return sum(found) >= SHARED * len(found)


def _things(body: str) -> set[str]:
    return {word for part in body.split(",") for word in _about(part)}


def _about(part: str) -> list[str]:
    """Of "a photo of a small dog in a park" it is "small", "dog"."""
    words = [word.lower() for word in re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", part)]
    of_a_picture = False
    while words and (not words_of(words[0]) or words[0] in (*_OF_PICTURES, *_PREPOSITIONS)):
        if words[0] in _PREPOSITIONS and not of_a_picture:
            return []  # where it is, not what
        of_a_picture |= words.pop(0) in _OF_PICTURES
    telling = itertools.takewhile(lambda word: word not in _PREPOSITIONS, words)
    return [word for word in telling if words_of(word) and word not in (*_OF_PICTURES, *_COLORS)]


def _named(text: str, activation_tag: str, name: str) -> str:
    body = bare(text, activation_tag)
    if activation_tag and tag_pattern(activation_tag).search(body):
        return _tidy(tag_pattern(activation_tag).sub(lambda _: name, body))
    if not name or tag_pattern(name).search(body):
        return _tidy(body)
    return f"{name}, {_tidy(body)}" if body.strip() else name


def _unnamed(text: str, activation_tag: str, name: str) -> str:
    body = bare(text, activation_tag)
    for words in (activation_tag, name):
        if words:
            body = tag_pattern(words).sub("", body)
    return _tidy(body)


def _tidy(text: str) -> str:
    return _BEFORE_COMMA.sub("", _LOOSE_COMMAS.sub("", _SPACES.sub(" ", text))).strip()
