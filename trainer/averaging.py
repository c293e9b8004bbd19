"""An exponential moving average of the trained values, which is then what is saved, previewed and validated."""

from __future__ import annotations

from torch import Tensor

from trainer.arena import Arena


class MovingAverage:
    """average <- d average + (1 - d) values after each step (Polyak & Juditsky, 1992, exponential), d at most `decay`.

    d is (1 + step) / (10 + step) while that is smaller: the first steps, far from where training goes, are soon forgotten.
    It lies in the arena, and so in each checkpoint.
    """

    def __init__(self, arena: Arena, decay: float) -> None:
        self._arena, self._decay = arena, decay
        self.values: Tensor = arena.buffer("average")
        self.begin()

    def begin(self) -> None:
        self.values.copy_(self._arena.values.detach())

    def update(self, step: int) -> None:
        """After `step` steps, from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        self.values.lerp_(self._arena.values.detach(), 1 - decay)
