"""Which jobs do not get on: why, since when, and what would help. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from loramill import v1
from service.causes import cause_of
from service.job import standing_of
from service.keys import job_name
from service.times import to_datetime, to_timestamp
from service.usage import class_of

if TYPE_CHECKING:
    from service.facts import JobFacts, LaunchFacts
    from service.job import Standing

START_LIMIT = timedelta(minutes=10)
"""How long a trainer may take to begin, or to be gone, before its job counts as stuck."""

SILENCE_LIMIT = timedelta(minutes=15)
"""How long a trainer may say nothing: it tells of itself every few seconds, also while it makes no progress."""

_GIVE_UP = "if its trainer is lost or hangs, give launch {launch} up: the next one goes on from the last checkpoint."

_REMEDIES = {
    v1.STATE_REASON_HELD_BACK: "See `loramill admission show`; it goes on when the admission is resumed, or its class opened.",
    v1.STATE_REASON_UNSCHEDULABLE: "Bring nodes of its class, or correct what the class asks for of nodes.",
    v1.STATE_REASON_NO_CAPACITY: "Bring nodes of its class, or cancel it; a spec with compute_fallback goes elsewhere by itself.",
    v1.STATE_REASON_WAITING_FOR_NODE: "See why the autoscaler's node does not come: quota of the cloud, stock, or its own log.",
    v1.STATE_REASON_IMAGE_PULL: "Push the image, or correct trainers.image and its pull secrets.",
    v1.STATE_REASON_QUOTA: "Raise the quota of the trainers' namespace, or wait until others have ended.",
    v1.STATE_REASON_SUSPENDED: "Let its Kubernetes Job go on (spec.suspend: false), or see to the cluster's queue.",
    v1.STATE_REASON_STARTING: "Look at its pod's events; " + _GIVE_UP,
}


@dataclass(frozen=True)
class Stuck:
    standing: Standing
    since: datetime
    remedy: str


def stuck_of(facts: JobFacts, now: datetime, held_back: str) -> Stuck | None:
    """None for a job that gets on, or waits for its turn. `held_back` says why no launch of it begins."""
    standing = standing_of(facts, now, None, held_back)
    newest = facts.newest
    if facts.outcome is not None:
        ended = to_datetime(facts.outcome.create_time)
        alive = next((launch for launch in facts.launches if launch.alive), None)
        if alive is None or now - ended < START_LIMIT:
            return None
        remedy = f"Its trainer of launch {alive.number} is not gone; delete its pod by force if its node is lost."
        return Stuck(standing, ended, remedy)
    if newest is None:
        created = to_datetime(facts.create.create_time)
        return Stuck(standing, created, _REMEDIES[v1.STATE_REASON_HELD_BACK]) if held_back else None
    since, limit = _last_change(facts, newest, now)
    if now - since < limit and standing.reason != v1.STATE_REASON_HELD_BACK:
        return None
    return Stuck(standing, since, _remedy(standing, newest))


def message_of(facts: JobFacts, stuck: Stuck) -> v1.StuckJob:
    return v1.StuckJob(
        tenant=facts.tenant,
        name=job_name(facts.job),
        state=stuck.standing.state,
        state_reason=stuck.standing.reason,
        state_message=stuck.standing.message,
        since=to_timestamp(stuck.since),
        remedy=stuck.remedy,
        launch=facts.newest.number if facts.newest is not None else 0,
        compute_class=class_of(facts),
    )


def unreadable(tenant: str, job: str, problem: str) -> v1.StuckJob:
    """A job whose record, or whose trainer, cannot be looked at."""
    return v1.StuckJob(
        tenant=tenant,
        name=job_name(job),
        state_reason=v1.STATE_REASON_INTERNAL,
        state_message=f"It cannot be looked at: {problem}",
        remedy="Upgrade the service if a newer one has written the record; else restore that object from a backup.",
    )


def _last_change(facts: JobFacts, newest: LaunchFacts, now: datetime) -> tuple[datetime, timedelta]:
    """When something last happened to the job, and how long until the next thing should have."""
    if facts.cancel is not None:
        return to_datetime(facts.cancel.create_time), START_LIMIT
    cause = cause_of(newest, now)
    if cause is not None:
        return cause.time, START_LIMIT
    if newest.status is not None and newest.status.progress.HasField("update_time"):
        return to_datetime(newest.status.progress.update_time), SILENCE_LIMIT
    if newest.claim is not None:
        return to_datetime(newest.claim.create_time), SILENCE_LIMIT
    return to_datetime(newest.assignment.create_time), START_LIMIT


def _remedy(standing: Standing, newest: LaunchFacts) -> str:
    told = _REMEDIES.get(standing.reason, "Look at its log and its pod; " + _GIVE_UP)
    return told.format(launch=newest.number)
