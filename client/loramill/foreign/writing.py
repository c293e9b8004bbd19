"""An imported spec as a file for people, and what became of each key as lines. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loramill.plain import dump_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loramill.foreign.draft import Draft, Outcome

_TITLES = {
    "mapped": "Taken over",
    "default": "Taken over from its defaults",
    "left": "Named otherwise here",
    "needless": "Not needed",
    "off": "Asks for nothing",
    "unsupported": "NOT SUPPORTED",
    "unknown": "UNKNOWN",
}
_LONGEST = 60


def spec_file(draft: Draft, source: str) -> str:
    """The spec in YAML, with what is left to do on top."""
    lines = [f"Made from {source} ({draft.program.title}) by loramill job import.", "", "Left for you:"]
    lines += [f"- {sentence}" for sentence in advice(draft)]
    lost = [outcome for outcome in draft.outcomes if outcome.verdict in ("unsupported", "unknown")]
    if lost:
        lines += ["", "Not taken over:", *(f"- {line(outcome)}" for outcome in lost)]
    return "".join(f"# {text}".rstrip() + "\n" for text in lines) + "\n" + dump_yaml(draft.spec)


def advice(draft: Draft) -> Iterator[str]:
    """What only the user can say."""
    yield from draft.advice
    concept = draft.spec.concept
    if not concept.activation_tag and not concept.class_words:
        yield (
            "concept: give an activation_tag, or class_words for something that the base knows, unless the dataset's folders "
            "name them (10_tag class)."
        )


def lines_of(draft: Draft) -> Iterator[str]:
    """Every key, by what became of it."""
    for verdict, title in _TITLES.items():
        outcomes = [outcome for outcome in draft.outcomes if outcome.verdict == verdict]
        if outcomes:
            yield f"{title}:"
            yield from (f"  {line(outcome)}" for outcome in outcomes)


def line(outcome: Outcome) -> str:
    shown = " ".join(str(outcome.value).split())
    shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
    return f"{outcome.key}{f' = {shown}' if outcome.value is not None else ''}: {outcome.says}"
