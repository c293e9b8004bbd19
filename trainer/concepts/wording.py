"""Verdicts in sentences. Pure."""

from __future__ import annotations

from trainer.concepts.evidence import Estimate, Figures
from trainer.concepts.naming import CalledBy, Naming
from trainer.concepts.verdict import RULE, Verdict


def sentence_of(verdict: Verdict, figures: Figures, said: Naming) -> str:
    """The verdict with its reason, for a log, a report and the end of a run."""
    says = _what_the_name_says(verdict, figures, said)
    errs = f"it predicts the pictures with {_interval(figures.distance)} times the error that it has on pictures of its own"
    if verdict is Verdict.KNOWN:
        return f"KNOWN: the base already knows this, you need no adapter: {says}, and {errs}."
    if verdict is Verdict.MODIFIED:
        return f"MODIFIED: the base knows this, but renders it otherwise: {says}, and {errs}."
    return f"NEW: the base does not know this: {says}, and {errs}."


def _what_the_name_says(verdict: Verdict, figures: Figures, said: Naming) -> str:
    if said.by is CalledBy.NOBODY:
        return "no caption has a word for what is shown (class words would tell more)"
    if verdict is Verdict.NEW and figures.own_gain.value < RULE.means_something:
        return f"{_called(said.name, 'means', 'mean')} nothing to it"
    tells = f"{_called(said.name)} {_as_much(figures.name_gain)}"
    return (
        f"nobody calls it by a name (class words would tell more), and {tells}" if said.by is CalledBy.TRIAL else tells
    )


def _called(name: str, verb: str = "tells it", verb_of_many: str = "tell it") -> str:
    if not name:
        return f"what captions say {verb}"
    return f"the words {name!r} {verb_of_many}" if " " in name else f"the word {name!r} {verb}"


def _as_much(gain: Estimate) -> str:
    if gain.high <= 0:
        return "nothing of them that is right"
    return f"{_interval(gain)} times as much of these pictures as of its own"


def _interval(one: Estimate) -> str:
    return f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"
