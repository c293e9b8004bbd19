"""How long a launch may wait for a machine, and what follows when none comes. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from loramill import v1
from service.compute_classes import LOCAL
from service.launch_choice import further_plan
from service.times import to_datetime, to_timestamp

if TYPE_CHECKING:
    from datetime import datetime

    from service.facts import JobFacts, LaunchFacts

USUAL_LIMIT = timedelta(minutes=15)
"""The time after which cluster-autoscaler gives a node up that does not come (`--max-node-provision-time`)."""

_WANT_OF_A_MACHINE = frozenset(
    {v1.STATE_REASON_UNSCHEDULABLE, v1.STATE_REASON_WAITING_FOR_NODE, v1.STATE_REASON_QUOTA, v1.STATE_REASON_SUSPENDED}
)


def limit_of(spec: v1.TrainingSpec) -> timedelta:
    """How long a launch of the job waits for its machine."""
    fallback = spec.compute_fallback
    return fallback.after.ToTimedelta() if fallback.HasField("after") else USUAL_LIMIT


def want_of_capacity(facts: JobFacts, now: datetime) -> str:
    """That the newest launch has waited too long for a machine, and why it gets none, in one sentence; empty where it has not."""
    newest = facts.newest
    if newest is None or newest.seen_end is not None or not _waits_for_a_machine(newest):
        return ""
    limit = limit_of(facts.create.spec)
    if now - to_datetime(newest.assignment.create_time) < limit:
        return ""
    execution = newest.execution
    why = (
        execution.message.rstrip(".") if execution is not None and execution.message else "the cluster does not say why"
    )
    name = newest.assignment.compute_class or LOCAL
    return f"{name} has given no machine within {told(limit)} ({why})."


def end_for_want(facts: JobFacts, now: datetime) -> v1.LaunchEnd | None:
    """The end of a launch that has waited too long, where its job may go elsewhere; None where it waits on."""
    want, plan = want_of_capacity(facts, now), further_plan(facts)
    if not want or plan is None:
        return None
    message = f"{want} The job goes to {plan.compute_class}{_price(plan)}."
    return v1.LaunchEnd(
        schema_version=1, reason=v1.STATE_REASON_NO_CAPACITY, message=message, create_time=to_timestamp(now)
    )


def told(limit: timedelta) -> str:
    """`15 minutes`, `1 hour`."""
    minutes = round(limit.total_seconds() / 60)
    number, unit = (minutes // 60, "hour") if minutes % 60 == 0 and minutes else (minutes, "minute")
    return f"{number} {unit}{'s' * (number != 1)}"


def _waits_for_a_machine(launch: LaunchFacts) -> bool:
    """Whether its pod has no node yet, for a reason that another class might not have; what a hand has suspended waits for it."""
    execution = launch.execution
    if launch.claim is not None or execution is None or execution.suspended or execution.started_time is not None:
        return False
    return execution.reason in _WANT_OF_A_MACHINE


def _price(plan: v1.ComputePlan) -> str:
    if not plan.price_per_hour:
        return ""
    amount = f"{plan.price_per_hour:g} {plan.currency}".strip()
    return f", which costs {amount} an hour"
