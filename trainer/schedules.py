"""Learning-rate schedules: pure functions of the step."""

from __future__ import annotations

import math

from trainer.config_fitting import ScheduleName


def rate_factor(
    schedule: ScheduleName, step: int, steps: int, warmup: int, *, cycles: int = 1, power: float = 1.0
) -> float:
    """The share of the peak rate at `step` (from 0) of `steps`: a linear rise over `warmup` steps, then the schedule.

    All but `constant` would reach 0 at step `steps`. `cycles` is for `cosine_with_restarts`, `power` for `polynomial`.
    """
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    if schedule == "constant":
        return 1.0
    if schedule == "linear":
        return 1.0 - share
    if schedule == "polynomial":
        return float((1.0 - share) ** power)
    if schedule == "rex":
        return reflected_exponential(share)
    return cosine(share * cycles % 1.0 if schedule == "cosine_with_restarts" else share)


def cosine(share: float) -> float:
    """(1 + cos(pi share)) / 2 (Loshchilov & Hutter, arXiv 1608.03983, eq. 5)."""
    return 0.5 * (1 + math.cos(math.pi * share))


def reflected_exponential(share: float) -> float:
    """(1 - share) / (1/2 + (1 - share) / 2) (Chen et al., arXiv 2107.04197, eq. 1)."""
    return (1 - share) / (0.5 + 0.5 * (1 - share))


def default_warmup(steps: int) -> int:
    """A twentieth of the steps, at most 100."""
    return min(100, steps // 20)
