"""What a caption could have said instead: words that other captions of the dataset have in the same place. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.data_report.words import words_of

MOST = 10
"""Alternatives of a word or tag."""
_ARTICLES = ("a", "an")


@dataclass(frozen=True)
class Alternative:
    """A caption with one word, or one tag, replaced by another."""

    words: str
    """What it says."""
    instead: str
    """What the dataset's other captions say in such a place."""
    caption: str


class Alternatives:
    """Of the captions of one dataset."""

    def __init__(self, captions: Sequence[str]) -> None:
        self._has_tags = sum("," in caption for caption in captions) * 2 > len(captions)
        self._company: dict[str, set[str]] = defaultdict(set)
        self._neighbours: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        self._frequent: Counter[str] = Counter()
        for caption in dict.fromkeys(captions):
            items = self._items(caption)
            telling = {item.lower() for item in items if words_of(item)}
            self._frequent.update(telling)
            for item in telling:
                self._company[item] |= telling
            for place, item in enumerate(items):
                if words_of(item):
                    self._neighbours[item.lower()].update(_neighbours(items, place))

    def of(self, caption: str) -> list[Alternative]:
        """Words one by one in their order, for each the likeliest alternatives first."""
        items, found = self._items(caption), list[Alternative]()
        said = {item.lower() for item in items}
        for place, item in enumerate(items):
            if not words_of(item):
                continue
            for other in self._instead_of(item.lower()):
                if other not in said:
                    found.append(Alternative(item, other, self._with(items, place, other)))
        return found

    def _instead_of(self, item: str) -> list[str]:
        """Those that never stand beside the item, so that in every caption it is one or the other: the most frequent tags, or the
        words whose neighbours are most like the item's."""
        others = self._frequent.keys() - self._company[item] - {item}
        if self._has_tags:
            likely = {other: float(self._frequent[other]) for other in others}
        else:
            mine = self._neighbours[item]
            likely = {other: _overlap(mine, self._neighbours[other]) for other in others}
        ranked = sorted(likely.items(), key=lambda one: (-one[1], one[0]))
        return [other for other, value in ranked if value > 0][:MOST]

    def _items(self, caption: str) -> list[str]:
        if self._has_tags:
            return [tag for part in caption.split(",") if (tag := part.strip())]
        return caption.split()

    def _with(self, items: Sequence[str], place: int, other: str) -> str:
        changed = [*items[:place], other, *items[place + 1 :]]
        if self._has_tags:
            return ", ".join(changed)
        if place and changed[place - 1].lower() in _ARTICLES:
            changed[place - 1] = "an" if other[0] in "aeiou" else "a"
        return " ".join(changed)


def _neighbours(items: Sequence[str], place: int) -> list[tuple[str, str]]:
    """("before", word) and ("after", word) of an item, "a" and "an" as one."""
    before = items[place - 1].lower() if place else ""
    after = items[place + 1].lower() if place + 1 < len(items) else ""
    return [("before", "a" if before in _ARTICLES else before), ("after", after)]


def _overlap(one: Counter[tuple[str, str]], other: Counter[tuple[str, str]]) -> float:
    """Common neighbours over all of them, 0 to 1, each by its share of a word's own (weighted Jaccard index)."""
    mine, theirs = one.total(), other.total()
    shares = [(one[key] / mine, other[key] / theirs) for key in one | other]
    return sum(map(min, shares)) / sum(map(max, shares))
