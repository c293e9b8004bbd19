"""A configuration of another program → a spec, with the fate of every key. Pure."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from loramill.errors import SpecError
from loramill.foreign.draft import Draft, Program

if TYPE_CHECKING:
    from collections.abc import Mapping

_INDEX = re.compile(r"\[\d+\]")
_NOTHING: tuple[Any, ...] = (None, "", "None", False, [])


def import_configuration(program: Program, values: Mapping[str, Any]) -> Draft:
    """The spec that does the same, as far as one can. Every key of `values` has an outcome; none is dropped in silence.

    Keys are full (`network.linear`, `datasets[0].folder_path`). What the program takes for keys that are missing is set too,
    since our own defaults are others.
    """
    draft = Draft(program, {key: value for key, value in values.items() if value is not None})
    for key, value in draft.values.items():
        row = draft.row(key)
        if row is None:
            draft.told(key, "unknown", f"is no key of {program.title} that is known here{_nearest(key, program)}")
        elif row.combined:
            continue
        elif row.to:
            draft.convert(row, key, value)
        elif row.needless:
            draft.told(key, "needless", row.says)
        elif row.asks_nothing(value):
            draft.told(key, "off", "asks for nothing")
        else:
            draft.told(key, "unsupported", row.says)
    try:
        program.combine(draft)
    except (ValueError, TypeError) as error:
        raise SpecError(
            "The configuration cannot be used:", _no_numbers(draft) or [f"{error}; correct it there."]
        ) from None
    _set_defaults(draft)
    _tell_the_rest(draft)
    return draft


def _no_numbers(draft: Draft) -> list[str]:
    """What is wrong with values that stand where the program takes a number, a sentence each."""
    return [
        f"{key} is {value!r}, but must be a number; correct it there."
        for key, value in draft.values.items()
        if (row := draft.row(key)) is not None and isinstance(row.default, int | float) and not _is_number(value)
    ]


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (ValueError, TypeError):
        return False
    return True


def flattened(value: Any, prefix: str = "") -> dict[str, Any]:
    """Groups and lists of groups by full keys; other lists are values."""
    if isinstance(value, dict) and value:
        found: dict[str, Any] = {}
        for key, inner in value.items():
            found |= flattened(inner, f"{prefix}.{key}" if prefix else str(key))
        return found
    if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        found = {}
        for index, inner in enumerate(value):
            found |= flattened(inner, f"{prefix}[{index}]")
        return found
    return {prefix: value} if prefix else {}


def _set_defaults(draft: Draft) -> None:
    told = {outcome.key for outcome in draft.outcomes}
    for row in draft.program.rows:
        if row.default is None or not row.to or row.combined:
            continue
        for key in _keys_of(row.key, draft.values):
            if key not in told and key not in draft.values:
                draft.convert(row, key, row.default)


def _keys_of(generic: str, values: Mapping[str, Any]) -> list[str]:
    """The key itself, or one for each item of the list that it belongs to."""
    head, brackets, tail = generic.partition("[]")
    if not brackets:
        return [generic]
    found = {match[0] for key in values if (match := re.match(re.escape(head) + r"\[\d+\]", key))}
    return [f"{item}{tail}" for item in sorted(found)]


def _tell_the_rest(draft: Draft) -> None:
    """Combined keys that no field came of: what only the user can say, and what counts for nothing beside the others."""
    told = {outcome.key for outcome in draft.outcomes}
    for key, value in draft.values.items():
        row = draft.row(key)
        if key in told or row is None:
            continue
        if row.left and value not in _NOTHING:
            draft.told(key, "left", f"{row.to}: {row.says}")
        else:
            draft.told(key, "off", row.says or "counts for nothing beside the other keys")


def _nearest(key: str, program: Program) -> str:
    generic = _INDEX.sub("[]", key)
    near = difflib.get_close_matches(generic, [row.key for row in program.rows], n=1)
    return f"; the nearest is {near[0]}" if near else ""
