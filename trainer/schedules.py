"""Learning-rate schedules: pure functions of the step."""

from __future__ import annotations

import math

from trainer.config import ScheduleName


def rate_factor(schedule: ScheduleName, step: int, steps: int, warmup: int) -> float:
    """The share of the peak rate at `step` (from 0) of `steps`: a linear rise over `warmup` steps, then the schedule.

    `linear` and `cosine` (Loshchilov & Hutter, arXiv 1608.03983, without restarts) would reach 0 at step `steps`.
    """
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return 1.0 - share
    return 0.5 * (1 + math.cos(math.pi * share))


def default_warmup(steps: int) -> int:
    """A twentieth of the steps, at most 100."""
    return min(100, steps // 20)
