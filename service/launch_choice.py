"""Which compute class the next launch of a job gets, of those that its record allows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loramill import v1
from service.compute_classes import LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from service.facts import JobFacts


def plans_of(create: v1.CreateRecord) -> Sequence[v1.ComputePlan]:
    """Where the job may run, in order; empty in local mode."""
    return [create.compute, *create.compute_fallbacks] if create.HasField("compute") else []


def plan_of(create: v1.CreateRecord, compute_class: str) -> v1.ComputePlan:
    """What its launches on that class have and cost; of a class that is none of its own, what the first one has."""
    return next((plan for plan in plans_of(create) if plan.compute_class == compute_class), create.compute)


def allowed_classes(facts: JobFacts) -> Sequence[str]:
    """The classes that the next launch may have, in order of preference; LOCAL in local mode.

    A job stays where it is. Only a class that gave it no machine is left for the next one in order; the others follow, for
    when its own is closed.
    """
    names = [plan.compute_class for plan in plans_of(facts.create)] or [LOCAL]
    newest = facts.newest
    if newest is None or newest.assignment.compute_class not in names:
        return names
    place = names.index(newest.assignment.compute_class)
    if gave_no_machine(facts) and place + 1 < len(names):
        place += 1
    return names[place:] + names[:place]


def next_class(facts: JobFacts, takes: Callable[[str], bool]) -> str | None:
    """The class of the next launch; None where none of the job's takes one now. `takes` tells whether a class does."""
    return next((name for name in allowed_classes(facts) if takes(name)), None)


def further_plan(facts: JobFacts) -> v1.ComputePlan | None:
    """What the job would get if its class gave it no machine; None where it has no other class to go to."""
    plans = plans_of(facts.create)
    names = [plan.compute_class for plan in plans]
    newest = facts.newest
    if newest is None or newest.assignment.compute_class not in names:
        return None
    place = names.index(newest.assignment.compute_class) + 1
    return plans[place] if place < len(plans) else None


def gave_no_machine(facts: JobFacts) -> bool:
    """Whether the newest launch was ended for want of a machine."""
    newest = facts.newest
    return newest is not None and newest.seen_end is not None and newest.seen_end.reason == v1.STATE_REASON_NO_CAPACITY
