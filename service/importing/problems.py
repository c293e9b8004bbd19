"""What ends an import, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: a word for programs and a sentence for people. As BaseModelImportProblem."""

    reason: str
    description: str


UNSUITABLE = "UNSUITABLE_BASE"
NOT_FOUND = "NOT_FOUND"
ACCESS_REFUSED = "ACCESS_REFUSED"
SOURCE_UNAVAILABLE = "SOURCE_UNAVAILABLE"
SOURCE_CHANGED = "SOURCE_CHANGED"
TOO_LARGE = "TOO_LARGE"
NO_SPACE = "NO_SPACE"
INTERRUPTED = "INTERRUPTED"
ALREADY_EXISTS = "ALREADY_EXISTS"
STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
INTERNAL = "INTERNAL"


class ImportFailed(Exception):
    """The import cannot come to its end. Carries every problem at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(problem.description for problem in problems))


def failed(reason: str, description: str) -> ImportFailed:
    """An ImportFailed of one problem."""
    return ImportFailed([Problem(reason, description)])


def unsuitable(descriptions: Sequence[str]) -> ImportFailed:
    return ImportFailed([Problem(UNSUITABLE, description) for description in descriptions])
