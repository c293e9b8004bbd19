"""Whether a base knows a concept: figures → NEW, MODIFIED or KNOWN, with the reason in words. Pure.

Both questions are put relative to the pictures that the base itself draws for the same captions. Would the base have drawn the
dataset's pictures itself? Then it knows the concept as it is. Else, does the name say as much of them as of the base's own?
Then it knows the thing by that name, as something that looks otherwise.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from trainer.concepts.evidence import Figures
from trainer.concepts.naming import CalledBy


class Verdict(enum.StrEnum):
    """What the base makes of a concept."""

    NEW = "NEW"
    """It would not have drawn it, and does not know it by its name."""
    MODIFIED = "MODIFIED"
    """It knows the thing by its name, and renders it otherwise."""
    KNOWN = "KNOWN"
    """It draws this already."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Limits, fixed on `builtin://shapes` and judged on another base (`bench/concepts.py`): docs/decisions/0019."""

    means_something: float = 0.08
    """`own_gain` from which the name means something to the base at all."""
    speaks: float = 0.2
    """`name_gain` from which the base knows the thing by a name that the job or its captions call it by."""
    close: float = 1.3
    """`distance` up to which the base would have drawn it itself."""


RULE = Rule()


def verdict_of(found: Figures, by: CalledBy, rule: Rule = RULE) -> Verdict:
    """Never MODIFIED where nobody calls the thing by a name: what captions tell then says nothing of the thing, and the best of
    several names on trial says something of nearly everything."""
    if found.distance.value <= rule.close:
        return Verdict.KNOWN
    is_called = by in (CalledBy.NAME, CalledBy.CAPTIONS)
    is_known = found.own_gain.value >= rule.means_something and found.name_gain.value >= rule.speaks
    return Verdict.MODIFIED if is_called and is_known else Verdict.NEW
