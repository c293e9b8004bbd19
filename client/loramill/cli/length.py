"""How long a job trains, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loramill import v1


def length_line(plan: v1.LengthPlan) -> str:
    """`1500 steps of 4 visits: about 15 epochs of 40 pictures, 400 visits, 100 steps`."""
    steps, a_step = _counted(plan.steps, "step"), _counted(plan.visits_per_step, "visit")
    epochs = "1 epoch" if plan.epochs == 1 else f"{plan.epochs:.3g} epochs"
    parts = (
        _counted(plan.pictures, "picture"),
        _counted(plan.visits_per_epoch, "visit"),
        _counted(plan.steps_per_epoch, "step"),
    )
    return f"{steps} of {a_step}: about {epochs} of {', '.join(parts)}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
