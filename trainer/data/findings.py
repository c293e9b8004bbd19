"""What is wrong with a dataset and what is odd about it, collected, so that people see all of it at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trainer.errors import UserError

_MOST_SENTENCES = 100
_MOST_NAMES = 8
_LONGEST_NAME = 120


@dataclass(frozen=True)
class Kind:
    """A finding that several files can share; it becomes one sentence with their count and their names."""

    one: str
    many: str
    advice: str = ""


class Findings:
    """Problems stop the job; warnings go into the report. Each sentence is kept once, in the order of finding."""

    def __init__(self) -> None:
        self._problems: dict[str | Kind, list[str]] = {}
        self._warnings: dict[str | Kind, list[str]] = {}

    def problem(self, sentence: str) -> None:
        self._problems.setdefault(sentence, [])

    def warning(self, sentence: str) -> None:
        self._warnings.setdefault(sentence, [])

    def problem_of(self, kind: Kind, paths: Iterable[str]) -> None:
        """These files have a problem of this kind."""
        for path in paths:
            self._problems.setdefault(kind, []).append(path)

    def warning_of(self, kind: Kind, paths: Iterable[str]) -> None:
        """These files are odd in this way."""
        for path in paths:
            self._warnings.setdefault(kind, []).append(path)

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(sentence_of(what, paths) for what, paths in self._warnings.items())

    def raise_problems(self) -> None:
        """Raises UserError with every problem, if there is one."""
        sentences = [sentence_of(what, paths) for what, paths in self._problems.items()]
        if len(sentences) > _MOST_SENTENCES:
            sentences[_MOST_SENTENCES:] = [f"And {len(sentences) - _MOST_SENTENCES} more problems of the dataset."]
        if sentences:
            raise UserError(sentences)


def shown(path: str) -> str:
    """A name as it stands in a sentence: quoted, on one line, and not too long."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in path)
    if len(safe) > _LONGEST_NAME:
        safe = f"{safe[: _LONGEST_NAME // 2]}…{safe[-_LONGEST_NAME // 2 :]}"
    return f"'{safe}'"


def sentence_of(what: str | Kind, paths: list[str]) -> str:
    """One sentence that counts and names what was found."""
    if isinstance(what, str):
        return what
    names = ", ".join(shown(path) for path in paths[:_MOST_NAMES])
    more = f" and {len(paths) - _MOST_NAMES} more" if len(paths) > _MOST_NAMES else ""
    count = f"1 {what.one}" if len(paths) == 1 else f"{len(paths)} {what.many}"
    return f"{count}: {names}{more}.{' ' if what.advice else ''}{what.advice}"
