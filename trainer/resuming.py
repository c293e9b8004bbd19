"""Where training goes on: at the best checkpoint of any run of the job, and, after it diverged, at the last good one in a new
generation."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog
from torch import Tensor

from loramill import v1
from trainer import checkpoint, generations
from trainer.errors import Diverged
from trainer.loop import Training
from trainer.record import RunRecord
from trainer.state import begin_again, restore

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where the loop begins."""

    step: int
    """Steps that are done."""
    trained_seconds: float
    generation: v1.Generation
    warnings: list[str] = field(default_factory=list)


def resumed(training: Training, record: RunRecord, fingerprint: str) -> Start:
    """Goes on from the best checkpoint of the newest generation; `training` is at its beginning."""
    generation = generations.current(record.line)
    warnings = [generation.message] if generation.message else []
    found = checkpoint.choose(record.runs, checkpoint.names_of(record.assignment), generation)
    if found is None:
        return Start(step=0, trained_seconds=0.0, generation=generation, warnings=warnings)
    if found.numeric_fingerprint != fingerprint:
        warnings.append(
            f"Training went on at step {found.step} under another numeric fingerprint, so that the adapter is as good as "
            f"an uninterrupted one, but not the same bits: before {found.numeric_fingerprint!r}, now {fingerprint!r}."
        )
    for warning in warnings:
        log.warning(warning)
    restore(training, found.tensors, found.step)
    log.info("resumed", step=found.step)
    return Start(step=found.step, trained_seconds=found.trained_seconds, generation=generation, warnings=warnings)


def taken_back(
    training: Training,
    record: RunRecord,
    generation: v1.Generation,
    first_values: Tensor,
    trained_seconds: float,
    error: Diverged,
) -> Start:
    """After `generation` has diverged: opens the next one at its last good checkpoint, else at `first_values` (N,), at half the
    rates. Raises Diverged where that was done before."""
    if generation.generation > 0:
        raise Diverged(
            f"{error} Training had been taken back to step {generation.from_step} once already, and had gone on at "
            f"{generation.rate_factor:g} times its learning rates."
        ) from error
    names = checkpoint.names_of(record.assignment)
    good = checkpoint.choose(record.runs, names, generation)
    from_step = good.step if good is not None else 0
    message = (
        f"{error} Training was taken back to step {from_step}, its last good state, and went on from there at half its "
        "learning rates."
    )
    opened = generations.open_next(record.line, generation, from_step=from_step, message=message)
    found = checkpoint.choose(record.runs, names, opened)
    if found is None:
        begin_again(training, first_values)
    else:
        restore(training, found.tensors, found.step)
    log.warning(opened.message)
    return Start(
        step=found.step if found is not None else 0,
        trained_seconds=trained_seconds,
        generation=opened,
        warnings=[opened.message],
    )
