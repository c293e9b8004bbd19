"""Generations: unbroken lines of checkpoints. A run that diverges goes back to the last good checkpoint and opens the next one.

line/generations/<g>.json   Generation, create-only: every later run goes on in the highest
"""

from __future__ import annotations

from loramill import v1
from store import ObjectStore
from store.records import put_record, read_record
from trainer.errors import TrainerError
from trainer.record import now

FOLDER = "generations/"

FIRST = v1.Generation(rate_factor=1.0)
"""The one that nobody opens."""


def _key(generation: int) -> str:
    return f"{FOLDER}{generation:06d}.json"


def current(line: ObjectStore) -> v1.Generation:
    """The highest that was opened; FIRST if none was."""
    keys = sorted(info.key for info in line.list(FOLDER))
    found = read_record(line, keys[-1], v1.Generation) if keys else None
    return FIRST if found is None else found


def generation_of_step(step: int, newest: v1.Generation) -> int:
    """Number of the generation that has trained the job's step, from 1, when `newest` is the highest that was opened: what lies
    behind its beginning is of the one before."""
    if step > newest.from_step or newest.generation == FIRST.generation:
        return newest.generation
    # A job is taken back once at most, so that the one before is the first.
    return FIRST.generation


def open_next(line: ObjectStore, before: v1.Generation, *, from_step: int, message: str) -> v1.Generation:
    """The generation after `before`, beginning at a checkpoint of it, at half its rates; the record of another run if that was
    first."""
    number = before.generation + 1
    put_record(
        line,
        _key(number),
        v1.Generation(
            schema_version=1,
            generation=number,
            from_step=from_step,
            rate_factor=before.rate_factor / 2,
            message=message,
            create_time=now(),
        ),
    )
    opened = read_record(line, _key(number), v1.Generation)
    if opened is None:
        raise TrainerError(f"Generation {number} was opened and cannot be read back; look at the object store.")
    return opened
