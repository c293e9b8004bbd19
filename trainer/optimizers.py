"""Optimizers over the arena: elementwise ones see one tensor a segment, the others the modules' own parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from trainer.arena import Arena
from trainer.config_fitting import OptimizationConfig, OptimizerName
from trainer.library_optimizers import adafactor, adamw_8bit, lion, prodigy, schedule_free_adamw
from trainer.preconditioning import Preconditioner


class Optimizer(Protocol):
    """Changes the arena's values by its gradients."""

    def step(self, rate_factor: float) -> None:
        """One update, at this share of each segment's peak rate. May overwrite the gradients."""
        ...

    def rate_found(self) -> float:
        """What the learning rates are multiplied by beside the schedule; 1 where the optimizer finds none itself."""
        ...

    def average(self) -> Tensor | None:
        """The values to use in the place of those that are trained, (N,); None where they are the same."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What it keeps outside the arena, as copies in host memory."""
        ...

    def restore(self, state: Mapping[str, Tensor], step: int) -> None:
        """Goes on after `step` updates, with the buffers that now lie in the arena; an empty state is that of the beginning."""
        ...


class AdamW:
    """AdamW (Loshchilov & Hutter, arXiv 1711.05101, algorithm 2): torch's fused kernel, its moments in the arena."""

    def __init__(
        self, arena: Arena, *, beta1: float, beta2: float, preconditioner: Preconditioner | None = None
    ) -> None:
        """With a preconditioner it works on the gradients that this makes of those in the arena."""
        self._segments, self._preconditioner = arena.segments, preconditioner
        self._first, self._second = arena.buffer("first_moments"), arena.buffer("second_moments")
        self._optimizer = torch.optim.AdamW(
            [
                {"params": [segment.value], "lr": segment.learning_rate, "weight_decay": segment.weight_decay}
                for segment in arena.segments
            ],
            betas=(beta1, beta2),
            fused=True,
        )
        self.restore({}, 0)

    def step(self, rate_factor: float) -> None:
        if self._preconditioner is not None:
            self._preconditioner.precondition()
        for group, segment in zip(self._optimizer.param_groups, self._segments, strict=True):
            group["lr"] = segment.learning_rate * rate_factor
        self._optimizer.step()

    def rate_found(self) -> float:
        return 1.0

    def average(self) -> Tensor | None:
        return None

    def state(self) -> dict[str, Tensor]:
        return {}

    def restore(self, state: Mapping[str, Tensor], step: int) -> None:
        assert not state, "all of it lies in the arena"
        for segment in self._segments:
            self._optimizer.state[segment.value] = {
                "step": torch.tensor(float(step), device=segment.value.device),
                "exp_avg": self._first[segment.place],
                "exp_avg_sq": self._second[segment.place],
            }


def _adamw(arena: Arena, config: OptimizationConfig) -> Optimizer:
    return AdamW(arena, beta1=config.beta1, beta2=config.beta2)


def _preconditioned_adamw(arena: Arena, config: OptimizationConfig) -> Optimizer:
    return AdamW(arena, beta1=config.beta1, beta2=config.beta2, preconditioner=Preconditioner(arena))


_MAKERS: dict[OptimizerName, Callable[[Arena, OptimizationConfig], Optimizer]] = {
    "adamw": _adamw,
    "adamw_8bit": adamw_8bit,
    "adafactor": adafactor,
    "lion": lion,
    "prodigy": prodigy,
    "schedule_free_adamw": schedule_free_adamw,
    "preconditioned_adamw": _preconditioned_adamw,
}


def make_optimizer(arena: Arena, config: OptimizationConfig) -> Optimizer:
    """The optimizer that the spec asks for, at its beginning. Raises UserError where its library is missing."""
    return _MAKERS[config.optimizer](arena, config)
