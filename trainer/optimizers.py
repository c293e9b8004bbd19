"""Optimizers over the arena: elementwise ones see one tensor a segment."""

from __future__ import annotations

import torch

from trainer.arena import Arena


class AdamW:
    """AdamW (Loshchilov & Hutter, arXiv 1711.05101, algorithm 2): torch's fused kernel, its moments in the arena."""

    def __init__(self, arena: Arena, *, beta1: float, beta2: float) -> None:
        self._segments = arena.segments
        self._optimizer = torch.optim.AdamW(
            [
                {"params": [segment.value], "lr": segment.learning_rate, "weight_decay": segment.weight_decay}
                for segment in arena.segments
            ],
            betas=(beta1, beta2),
            fused=True,
        )
        self.rewind(0)

    def rewind(self, step: int) -> None:
        """Goes on after `step` optimizer steps, with the moments that now lie in the arena."""
        for segment in self._segments:
            self._optimizer.state[segment.value] = {
                "step": torch.tensor(float(step), device=segment.value.device),
                "exp_avg": segment.first_moment,
                "exp_avg_sq": segment.second_moment,
            }

    def step(self, rate_factor: float) -> None:
        """One update, at this share of each segment's peak rate."""
        for group, segment in zip(self._optimizer.param_groups, self._segments, strict=True):
            group["lr"] = segment.learning_rate * rate_factor
        self._optimizer.step()
