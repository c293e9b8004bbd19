"""What is kept of `bench/quality.py`: a file for each run that is done, so that a kill loses one run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.quality_rows import BATCH, Row, saves_of

READER = "reader.json"
"""How often the reader of inlays is right: of squares with one, and of all else; shares of 1."""


@dataclass(frozen=True)
class Saved:
    """An adapter on the way, or at the end."""

    step: int
    seconds: float
    """Of one core, from the beginning of the training to this adapter."""
    file: Path


@dataclass(frozen=True, kw_only=True)
class Point:
    """A row's adapter after some steps; after none, the base alone."""

    step: int
    seconds: float
    """Of one core, from the beginning of the training."""
    loss: float
    taught: dict[str, float]
    """Percent, by concept."""
    known_loss: float
    known: float | None
    """Percent, at the first and at the last point."""

    @property
    def score(self) -> float:
        return sum(self.taught.values()) / len(self.taught)


@dataclass(frozen=True)
class Run:
    """One training, to be done or done."""

    folder: Path
    """Of all that is kept of one base."""
    task: str
    row: Row
    seed: int

    def file(self) -> Path:
        """Other options or another length have another file."""
        row = {**asdict(self.row), "title": "", "batch": BATCH, "at": saves_of(self.row)}
        digest = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
        return self.folder / self.task / f"{self.row.name}-seed-{self.seed}-{digest[:8]}.json"

    def points(self) -> list[Point] | None:
        """What was measured; None before the run is done."""
        file = self.file()
        return [Point(**point) for point in json.loads(file.read_text())] if file.exists() else None


def keep(file: Path, value: object) -> None:
    """As JSON, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".part").write_text(json.dumps(value))
    file.with_suffix(".part").rename(file)
