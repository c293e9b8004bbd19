"""How long a job trains, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loramill import v1


def length_line(plan: v1.LengthPlan, *, by_epochs: bool) -> str:
    """`1500 steps of 4 visits, at most 15 epochs; an epoch has 40 pictures, 400 visits, at least 100 steps`.

    `by_epochs`: whether the spec has epochs, from which the steps follow. What follows is a bound: buckets are not known yet.
    """
    steps, epochs = _counted(plan.steps, "step"), "1 epoch" if plan.epochs == 1 else f"{plan.epochs:.3g} epochs"
    a_step = _counted(plan.visits_per_step, "visit")
    length = f"{epochs}, at least {steps} of {a_step}" if by_epochs else f"{steps} of {a_step}, at most {epochs}"
    pictures, visits = _counted(plan.pictures, "picture"), _counted(plan.visits_per_epoch, "visit")
    return f"{length}; an epoch has {pictures}, {visits}, at least {_counted(plan.steps_per_epoch, 'step')}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
