"""How long what is kept is kept, and what of it is over: listings, the record's facts and the time → what to remove. Pure.

Whoever removes decides from records that never change (an outcome, a manifest, a tombstone), and where there is none from
times that are large against everything that a run or a caller may pause for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from service.keys import DatasetKeys, JobKeys
from service.operator_model import OperatorModel
from store.object_store import ObjectInfo

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)

GRACE = _DAY
"""How long what an interrupted or overtaken call has left is let alone: it may still be under way."""

Lifetime = Annotated[timedelta, Field(ge=_HOUR)]


class Kind(StrEnum):
    """What is removed, as metrics and log lines name it."""

    CHECKPOINT = "checkpoint"
    LOG = "log"
    METRICS = "metrics"
    CACHE = "cache"
    UPLOAD = "upload"
    BLOB = "blob"
    DATASET = "dataset"
    JOB = "job"
    ADAPTER = "adapter"
    BASE = "base"
    REQUEST = "request"
    TOMBSTONE = "tombstone"
    AUDIT = "audit"
    PROBE = "probe"


class Retention(OperatorModel):
    """The operator's lifetimes. ISO 8601 durations such as `P7D`, or seconds; `null` keeps for ever."""

    enabled: bool = Field(True, description="remove what is over")
    dry_run: bool = Field(False, description="only log what would be removed")
    interval: timedelta = Field(6 * _HOUR, ge=timedelta(minutes=1), description="between two passes")
    removals_per_second: float = Field(50.0, gt=0, le=1000, description="objects removed in a second at most")
    checkpoints: Lifetime | None = Field(7 * _DAY, description="checkpoints, after their job's end")
    logs_and_metrics: Lifetime | None = Field(90 * _DAY, description="logs and metrics, after their job's end")
    jobs: Lifetime | None = Field(None, description="whole jobs but for their adapters, after their end")
    adapters: Lifetime | None = Field(None, description="adapters that no living job uses, after they were made")
    caches: Lifetime | None = Field(30 * _DAY, description="cached latents and embeddings, after they were written")
    uploads: Lifetime = Field(
        _DAY, description="files sent to addresses and never completed, and parts of unfinished uploads"
    )
    unfinished: Lifetime | None = Field(
        7 * _DAY, description="datasets never finalized and base models never whole, since their last change"
    )
    deleted: timedelta | None = Field(
        90 * _DAY,
        ge=90 * _DAY,
        description="that something was deleted, and its request_id; until then a repeated call learns it",
    )
    audit: Lifetime | None = Field(400 * _DAY, description="audit records")


def is_over(since: datetime, lifetime: timedelta | None, now: datetime) -> bool:
    """Whether a lifetime that began at `since` has passed; None never passes."""
    return lifetime is not None and since + lifetime <= now


def outlived(entries: Iterable[ObjectInfo], lifetime: timedelta | None, now: datetime) -> list[ObjectInfo]:
    """Objects that were written that long ago."""
    return [entry for entry in entries if is_over(entry.modified, lifetime, now)]


def is_abandoned(entries: Sequence[ObjectInfo], lifetime: timedelta | None, now: datetime) -> bool:
    """Whether none of the objects was written within the lifetime."""
    return bool(entries) and is_over(max(entry.modified for entry in entries), lifetime, now)


def of_ended_job(
    job: JobKeys, entries: Sequence[ObjectInfo], end: datetime, now: datetime, retention: Retention
) -> list[tuple[Kind, ObjectInfo]]:
    """What of an ended job is over, in the order in which it is to be removed: no checkpoint ever has a manifest alone."""
    lifetimes = {
        "checkpoints": (Kind.CHECKPOINT, retention.checkpoints),
        "logs": (Kind.LOG, retention.logs_and_metrics),
        "metrics": (Kind.METRICS, retention.logs_and_metrics),
    }
    found = []
    for entry in entries:
        kind, lifetime = lifetimes.get(job.part_of_run(entry.key), (Kind.JOB, None))
        # A run that its job has outlived may still write: what it wrote just now waits for the next pass.
        if is_over(max(end, entry.modified), lifetime, now):
            found.append((kind, entry))
    return sorted(found, key=lambda removal: not removal[1].key.endswith("/manifest.json"))


def left_of_deleted_job(job: JobKeys, entries: Sequence[ObjectInfo]) -> list[ObjectInfo]:
    """What should be gone; adapters outlive their job, with what tells which of them were given up, as does the tombstone."""
    has_adapters = any(job.part_of_run(entry.key) == "adapters" for entry in entries)
    return [
        entry
        for entry in entries
        if entry.key != job.tombstone
        and job.part_of_run(entry.key) != "adapters"
        and not (has_adapters and entry.key.startswith(job.generations_prefix))
    ]


def unclaimed_blobs(
    dataset: DatasetKeys, entries: Sequence[ObjectInfo], claimed: Collection[str], now: datetime
) -> list[ObjectInfo]:
    """Contents of a finalized dataset that no file of its manifest has; `claimed` are the SHA-256 of those that some has.

    Nothing can claim them any more: a manifest never changes.
    """
    wanted = {dataset.blob(sha256) for sha256 in claimed}
    blobs = (entry for entry in entries if entry.key.startswith(dataset.blobs) and entry.key not in wanted)
    return outlived(blobs, GRACE, now)
