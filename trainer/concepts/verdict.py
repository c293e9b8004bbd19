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
    guess_speaks: float = 0.6
    """The same on trial: the best of several says something of nearly everything."""
    close: float = 1.3
    """`distance` up to which the base would have drawn it itself."""


RULE = Rule()


def verdict_of(found: Figures, by: CalledBy, rule: Rule = RULE) -> Verdict:
    """What captions that name no thing tell of the pictures says nothing of the thing: it is then never a modified one."""
    if found.distance.value <= rule.close:
        return Verdict.KNOWN
    needed = rule.guess_speaks if by is CalledBy.TRIAL else rule.speaks
    if by is CalledBy.NOBODY or found.own_gain.value < rule.means_something or found.name_gain.value < needed:
        return Verdict.NEW
    return Verdict.MODIFIED
