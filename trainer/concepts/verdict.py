"""Whether a base knows a concept: figures → NEW, MODIFIED or KNOWN, with the reason in words. Pure.

Both questions are put relative to the pictures that the base itself draws for the same captions. Does the name say as much of
the dataset's pictures as of the base's own? Then the base knows the thing by that name. Would the base have drawn these pictures
itself? Then it knows it as it is; else as something that looks otherwise.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from trainer.concepts.evidence import Figures


class Verdict(enum.StrEnum):
    """What the base makes of a concept."""

    NEW = "NEW"
    """It never met it."""
    MODIFIED = "MODIFIED"
    """It knows the thing by its name, and renders it otherwise."""
    KNOWN = "KNOWN"
    """It draws this already."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Limits, fixed on `builtin://shapes` and judged on another base (`bench/concepts.py`)."""

    speaks: float = 0.4
    """`name_gain` from which the base knows the thing by this name."""
    close: float = 1.5
    """`distance` up to which the base would have drawn it itself."""


RULE = Rule()


def verdict_of(figures: Figures, rule: Rule = RULE) -> Verdict:
    """`name_gain` is that of the whole caption where nothing calls the concept."""
    if figures.name_gain.value < rule.speaks:
        return Verdict.NEW
    return Verdict.KNOWN if figures.distance.value <= rule.close else Verdict.MODIFIED
