"""What the simulated machines write down while they work, a JSON line each, and the reading of it."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class MachineFact:
    """A machine that has gone. Times in seconds since 1970."""

    node: str
    capacity_type: str
    instance_type: str
    gpus: int
    since: float
    until: float


@dataclass(frozen=True, kw_only=True)
class RunFact:
    """A simulated trainer that has ended."""

    job: str
    launch: int
    node: str
    first_step: int
    """Steps that were done when it began."""
    last_step: int
    since: float
    until: float
    exit_code: int | None
    """None where its machine went away under it."""
    disruption: str
    """What Kubernetes says drove its pod out, such as EvictionByEvictionAPI; empty if nothing did."""


@dataclass(frozen=True, kw_only=True)
class InterruptionFact:
    """A spot machine that was taken away."""

    node: str
    announced: bool
    at: float


Fact = MachineFact | RunFact | InterruptionFact
_KINDS: dict[str, type[Fact]] = {kind.__name__: kind for kind in (MachineFact, RunFact, InterruptionFact)}


class FactsFile:
    """Written from many threads."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()

    def write(self, fact: Fact) -> None:
        line = json.dumps({"kind": type(fact).__name__, **asdict(fact)})
        with self._lock, self._path.open("a") as file:
            file.write(line + "\n")


def read(path: Path) -> list[Fact]:
    """In the order in which they were written."""
    facts = []
    for line in path.read_text().splitlines():
        fields = json.loads(line)
        facts.append(_KINDS[fields.pop("kind")](**fields))
    return facts
