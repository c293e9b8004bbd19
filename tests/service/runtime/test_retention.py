"""The policies, in tables: what of a listing is over."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.keys import TenantKeys
from service.retention import (
    GRACE,
    Kind,
    Retention,
    is_abandoned,
    is_over,
    left_of_deleted_job,
    of_ended_job,
    outlived,
    unclaimed_blobs,
)
from store.object_store import ObjectInfo
from tests.service.runtime.world import START

JOB, DATASET = TenantKeys("a").job("j"), TenantKeys("a").dataset("d")
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


def written(key: str, at: datetime = START) -> ObjectInfo:
    return ObjectInfo(key, 1, at)


@pytest.mark.parametrize(
    ("lifetime", "age", "over"), [(DAY, DAY - SECOND, False), (DAY, DAY, True), (None, 1000 * DAY, False)]
)
def test_a_lifetime_passes_at_its_end_and_none_never(lifetime: timedelta | None, age: timedelta, over: bool) -> None:
    assert is_over(START, lifetime, START + age) is over
    assert outlived([written("k")], lifetime, START + age) == ([written("k")] if over else [])


def test_one_fresh_object_keeps_the_others_from_being_abandoned() -> None:
    old, fresh = written("old"), written("fresh", START + 5 * DAY)
    assert is_abandoned([old], 7 * DAY, START + 7 * DAY)
    assert not is_abandoned([old, fresh], 7 * DAY, START + 7 * DAY)
    assert is_abandoned([old, fresh], 7 * DAY, START + 12 * DAY)
    assert not is_abandoned([], 7 * DAY, START + 12 * DAY)
    assert not is_abandoned([old], None, START + 12 * DAY)


RUN = JOB.run(1).root
OF_JOB = [
    JOB.record,
    JOB.outcome,
    f"{RUN}claim.json",
    f"{RUN}end.json",
    f"{RUN}adapters/final/manifest.json",
    f"{RUN}checkpoints/000-0000001/manifest.json",
    f"{RUN}checkpoints/000-0000001/state.safetensors",
    f"{RUN}checkpoints/000-0000002/manifest.json",
    f"{RUN}checkpoints/000-0000002/state.safetensors",
    f"{RUN}logs/000001.jsonl",
    f"{RUN}metrics/000001.json",
    f"{RUN}previews/1.png",
    f"{JOB.line}generations/001.json",
]


@pytest.mark.parametrize(
    ("age", "kinds"),
    [
        (7 * DAY - SECOND, set()),
        (7 * DAY, {Kind.CHECKPOINT}),
        (90 * DAY, {Kind.CHECKPOINT, Kind.LOG, Kind.METRICS}),
        (1000 * DAY, {Kind.CHECKPOINT, Kind.LOG, Kind.METRICS}),
    ],
)
def test_of_an_ended_job_go_checkpoints_then_logs_and_never_its_record_or_adapters(
    age: timedelta, kinds: set[Kind]
) -> None:
    found = of_ended_job(JOB, [written(key) for key in OF_JOB], START, START + age, Retention())
    assert {kind for kind, _ in found} == kinds
    assert all(key.split("/")[5] in ("checkpoints", "logs", "metrics") for _, entry in found for key in [entry.key])


def test_every_manifest_goes_before_any_state() -> None:
    found = of_ended_job(JOB, [written(key) for key in OF_JOB], START, START + 8 * DAY, Retention())
    assert [entry.key.rpartition("/")[2] for _, entry in found] == ["manifest.json"] * 2 + ["state.safetensors"] * 2


def test_what_a_zombie_wrote_after_the_end_has_its_own_lifetime() -> None:
    late = written(f"{RUN}checkpoints/000-0000003/state.safetensors", START + 6 * DAY)
    assert of_ended_job(JOB, [late], START, START + 8 * DAY, Retention()) == []
    assert of_ended_job(JOB, [late], START, START + 13 * DAY, Retention()) == [(Kind.CHECKPOINT, late)]


def test_lifetimes_of_null_keep() -> None:
    kept = Retention(checkpoints=None, logs_and_metrics=None)
    assert of_ended_job(JOB, [written(key) for key in OF_JOB], START, START + 1000 * DAY, kept) == []


def test_of_a_deleted_job_its_tombstone_and_adapters_stay() -> None:
    entries = [written(key) for key in [*OF_JOB, JOB.tombstone]]
    left = {entry.key for entry in left_of_deleted_job(JOB, entries)}
    adapter, generation = f"{RUN}adapters/final/manifest.json", "a/jobs/j/line/generations/001.json"
    assert left == set(OF_JOB) - {adapter, generation}, (
        "which of its adapters were given up is known as long as they are"
    )
    without = [entry for entry in entries if entry.key != adapter]
    assert generation in {entry.key for entry in left_of_deleted_job(JOB, without)}


def test_blobs_that_no_file_has_go_after_the_grace() -> None:
    entries = [written(DATASET.blob(name)) for name in ("aa", "bb")] + [
        written(DATASET.record),
        written(DATASET.file("x")),
    ]
    assert unclaimed_blobs(DATASET, entries, {"aa"}, START + GRACE - SECOND) == []
    assert unclaimed_blobs(DATASET, entries, {"aa"}, START + GRACE) == [written(DATASET.blob("bb"))]


@pytest.mark.parametrize(
    "wrong",
    [
        {"checkpoints": "PT10M"},
        {"uploads": None},
        {"deleted": "P30D"},
        {"interval": "PT1S"},
        {"removals_per_second": 0},
        {"unknown": 1},
    ],
    ids=str,
)
def test_lifetimes_that_are_too_short_to_be_safe_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Retention.model_validate(wrong)


def test_lifetimes_are_written_as_iso_8601_and_null_keeps() -> None:
    read = Retention.model_validate({"checkpoints": "P14D", "jobs": "P1Y", "caches": None})
    assert (read.checkpoints, read.jobs, read.caches) == (14 * DAY, 365 * DAY, None)


def test_the_page_for_operators_has_every_field_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|.*?\| `(\w+)` \|", Path("docs/retention.md").read_text(), re.MULTILINE))
    written = {field: None if default == "null" else default for field, default in rows.items()}
    shown = Retention.model_validate(written)
    assert shown == Retention()
    assert rows.keys() == Retention.model_fields.keys() - {"enabled", "dry_run", "interval", "removals_per_second"}
