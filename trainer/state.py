"""All that changes while a job trains, as the tensors of a checkpoint, and the values that others than the loop get to see."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from trainer.loop import Training, shown_values
from trainer.loss_scaling import LossScale
from trainer.optimizers import Optimizer
from trainer.validation import Validation


def state_of(training: Training) -> dict[str, Tensor]:
    """Copies in host memory."""
    state = training.arena.state()
    for name, part in _parts(training).items():
        state |= {f"{name}.{key}": tensor for key, tensor in part.state().items()}
    return state


def restore(training: Training, state: Mapping[str, Tensor], step: int) -> None:
    """Goes on after `step` steps; raises ValueError for the state of another layout."""
    training.arena.restore({name: tensor for name, tensor in state.items() if "." not in name})
    for name, part in _parts(training).items():
        mine = {key.partition(".")[2]: tensor for key, tensor in state.items() if key.startswith(f"{name}.")}
        part.restore(mine, step)


def begin_again(training: Training, values: Tensor) -> None:
    """As before the first step, with these first values (N,)."""
    training.arena.values.detach().copy_(values)
    for buffer in training.arena.buffers.values():
        buffer.zero_()
    if training.average is not None:
        training.average.begin()
    restore(training, training.arena.state(), 0)


def final_values(training: Training) -> Tensor | None:
    """What the finished job's adapter has: the best by validation, if the spec asks for it."""
    validation = training.validation
    if validation is not None and validation.best_values is not None:
        return validation.best_values
    return shown_values(training)


def _parts(training: Training) -> dict[str, Optimizer | LossScale | Validation]:
    parts = {"optimizer": training.optimizer, "scale": training.scale, "validation": training.validation}
    return {name: part for name, part in parts.items() if part is not None}
