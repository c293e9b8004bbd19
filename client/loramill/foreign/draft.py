"""A spec in the making, and what became of each key that was read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loramill import v1
from loramill.foreign.fields import set_field
from loramill.foreign.rows import Row, Unlike

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_INDEX = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True)
class Outcome:
    """What became of a key."""

    key: str
    value: Any
    verdict: str
    """`mapped`, `default`, `left`, `needless`, `off`, `unsupported` or `unknown`."""
    says: str
    """Field and value, or why there is none and what comes nearest."""


@dataclass(frozen=True)
class Program:
    """A program whose configurations are read: its rows, and what follows from several of them together."""

    name: str
    """The word of the command."""
    title: str
    rows: tuple[Row, ...]
    combine: Callable[[Draft], None]

    def row(self, key: str) -> Row | None:
        """The row of a key whose numbers in brackets are left out; else that of its group, which ends with `.*`."""
        exact = next((row for row in self.rows if row.key == key), None)
        if exact is not None:
            return exact
        return next((row for row in self.rows if row.key.endswith(".*") and key.startswith(row.key[:-1])), None)


@dataclass
class Draft:
    """Values as they were read, by full key; the spec; and what is to be told."""

    program: Program
    values: Mapping[str, Any]
    spec: v1.TrainingSpec = field(default_factory=v1.TrainingSpec)
    outcomes: list[Outcome] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    """What is left to the user, a sentence each."""

    def get(self, key: str) -> Any:
        """The value, or what the program takes where it is missing."""
        if self.values.get(key) is not None:
            return self.values[key]
        row = self.row(key)
        return row.default if row is not None else None

    def given(self, key: str) -> bool:
        return self.values.get(key) not in (None, "", "None", False)

    def row(self, key: str) -> Row | None:
        return self.program.row(_INDEX.sub("[]", key))

    def set(self, path: str, value: Any, key: str, says: str = "") -> None:
        """Sets a field for a key; what cannot be set is told as unsupported."""
        shown = self.get(key)
        try:
            set_field(self.spec, path, value)
        except (ValueError, TypeError, KeyError) as error:
            self.outcomes.append(Outcome(key, shown, "unsupported", f"{path} {error}"))
            return
        verdict = "mapped" if key in self.values else "default"
        text = f"{path}: {_shown(value)}" + (f" ({says})" if says else "")
        self.outcomes.append(Outcome(key, shown, verdict, text))

    def told(self, key: str, verdict: str, says: str) -> None:
        self.outcomes.append(Outcome(key, self.values.get(key), verdict, says))

    def convert(self, row: Row, key: str, value: Any) -> None:
        """Sets what a row says for a value, or tells why not."""
        path = row.to
        for number in _INDEX.findall(key):
            path = path.replace("[]", f"[{number}]", 1)
        try:
            converted = row.convert(value) if row.convert is not None else value
        except (Unlike, ValueError, TypeError) as error:
            self.told(key, "unsupported", f"{error}." if isinstance(error, Unlike) else f"is {value!r}: {error}.")
            return
        self.set(path, converted, key, row.says)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
