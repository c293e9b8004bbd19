"""Rows of the tables: what one key of another program means here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Unlike(Exception):
    """A value that has no counterpart here. The message says why and what comes nearest, to stand behind the key's name."""


@dataclass(frozen=True)
class Row:
    """A key of another program, by its full name there."""

    key: str
    to: str = ""
    """The field of the spec, by its path; empty where none takes it."""
    convert: Callable[[Any], Any] | None = None
    """From that program's value to ours; None to take it as it is. Raises Unlike."""
    default: Any = None
    """What that program takes where the key is missing; None where nothing follows from it for us."""
    says: str = ""
    """How the value changes its meaning; why there is no field, and what comes nearest."""
    off: tuple[Any, ...] = ()
    """Of a key without a field: the values at which it does nothing there either, so that nothing is lost."""
    needless: bool = False
    """Whether what the key asks for is done here anyway, or has no place in a service."""
    combined: bool = False
    """Whether the field follows from several keys together."""
    left: bool = False
    """Whether only the user can say it: what lies on a disk or at a hub has another name here."""

    def asks_nothing(self, value: Any) -> bool:
        """Whether a key without a field does nothing at this value. True is not taken for 1, nor false for 0."""
        return any(isinstance(value, bool) == isinstance(entry, bool) and value == entry for entry in self.off)

    @property
    def verdict(self) -> str:
        """What becomes of it, in a word."""
        if self.to:
            return "mapped"
        return "needless" if self.needless else "unsupported"


_OFF: tuple[Any, ...] = (None, False, 0, "", "none", "None", [], {})


def mapped(key: str, to: str, convert: Callable[[Any], Any] | None = None, default: Any = None, says: str = "") -> Row:
    return Row(key, to, convert, default, says)


def combined(key: str, to: str, default: Any = None, says: str = "") -> Row:
    """A key that is read together with others."""
    return Row(key, to, None, default, says, combined=True)


def left(key: str, to: str, says: str) -> Row:
    """A key whose value has no meaning here, but whose field is to be filled in."""
    return Row(key, to, says=says, combined=True, left=True)


def needless(says: str, *keys: str) -> tuple[Row, ...]:
    """Keys that have no field for one reason, and lose nothing by it."""
    return tuple(Row(key, says=says, needless=True) for key in keys)


def unsupported(says: str, *keys: str, off: tuple[Any, ...] = ()) -> tuple[Row, ...]:
    """Keys that ask for what is not done here; at the values `off`, and where they are empty or false, they ask for nothing."""
    return tuple(Row(key, says=says, off=(*_OFF, *off)) for key in keys)


def unsupported_unless(usual: Any, says: str, *keys: str) -> tuple[Row, ...]:
    """Keys that ask for what is not done here unless they have their usual value."""
    return tuple(Row(key, says=says, off=(usual, None)) for key in keys)
