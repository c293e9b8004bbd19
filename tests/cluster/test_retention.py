"""The collector over real S3 servers, whose clocks and listings differ: what is over goes, the rest stays."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from loramill import v1
from service import indexes
from service.adapters import Adapters
from service.audit import Audit
from service.caller import Caller
from service.collector import Collector
from service.datasets import Datasets
from service.jobs import Jobs
from service.keys import TenantKeys, dataset_of_name, new_id
from service.remover import Remover
from service.retention import Kind, Retention
from service.times import to_timestamp, utc_now
from store import AlreadyExists, NotFound
from store.records import put_record
from store.s3 import S3Store
from tests.service.runtime.world import PretendedExecutor

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TENANT = "tenant-a"
KEYS = TenantKeys(TENANT)
CALLER = Caller(TENANT, "test", "/test", "call")
DAY = timedelta(days=1)


class Removed:
    def __init__(self) -> None:
        self.objects: Counter[Kind] = Counter()

    def removed(self, kind: Kind, objects: int, size: int) -> None:
        assert size >= 0
        self.objects[kind] += objects


@pytest.fixture
def store(s3_client: S3Client, bucket: str) -> S3Store:
    return S3Store(bucket, "some/prefix", s3_client)


@pytest.fixture
def removed() -> Removed:
    return Removed()


def collector(store: S3Store, removed: Removed, later: timedelta) -> Collector:
    """One that works as if so much time had passed; what the server has written keeps its own times."""

    def clock() -> datetime:
        return utc_now() + later

    audit = Audit(store)
    jobs = Jobs(store, PretendedExecutor(store), lambda *_: None, audit, clock)
    remover = Remover(store, removed, threading.Event(), 0.0, dry_run=False)
    return Collector(store, jobs, Datasets(store, audit, clock), Adapters(store, audit), remover, Retention(), clock)


def dataset(store: S3Store, *, finalized: bool) -> str:
    """The id of a dataset of one file."""
    datasets = Datasets(store, Audit(store))
    found = dataset_of_name(datasets.create(CALLER, v1.CreateDatasetRequest()).name) or ""
    file = v1.DatasetFile(path="a.png", sha256="ab" * 32, size_bytes=1)
    datasets.add(CALLER, found, file, lambda key: store.put_new(key, b"x"))
    if finalized:
        datasets.finalize(CALLER, found)
    return found


def job(store: S3Store, *, ended: bool) -> str:
    """The id of a job with one checkpoint."""
    found = new_id(utc_now())
    record = v1.CreateRecord(job_id=found, create_time=to_timestamp(utc_now()))
    put_record(store, KEYS.request(found), record)
    indexes.accept(store, TENANT, KEYS.request(found), record)
    for name in ("state.safetensors", "manifest.json"):
        store.put_new(f"{KEYS.job(found).run(1).root}checkpoints/000-0000001/{name}", b"x")
    if ended:
        outcome = v1.Outcome(state=v1.TRAINING_JOB_STATE_SUCCEEDED, create_time=to_timestamp(utc_now()))
        put_record(store, KEYS.job(found).outcome, outcome)
        indexes.put_ended(store, TENANT, found, outcome)
        indexes.clear_active(store, TENANT, found)
    return found


def keys_in(store: S3Store, prefix: str) -> list[str]:
    return [entry.key for entry in store.list(prefix)]


def test_what_is_over_goes_and_what_lives_or_is_young_stays(store: S3Store, removed: Removed) -> None:
    whole, half = dataset(store, finalized=True), dataset(store, finalized=False)
    living, ended = job(store, ended=False), job(store, ended=True)
    store.put_new(KEYS.upload(whole, "cd" * 32), b"x")
    store.put_new(f"{KEYS.caches}latents/x", b"x")
    before = keys_in(store, "")
    collector(store, removed, timedelta(0)).run()
    assert keys_in(store, "") == before
    collector(store, removed, 8 * DAY).run()
    assert removed.objects == {Kind.CHECKPOINT: 2, Kind.DATASET: 3, Kind.UPLOAD: 1}
    assert keys_in(store, KEYS.dataset(half).root) == [KEYS.dataset(half).tombstone]
    assert len(keys_in(store, KEYS.dataset(whole).root)) == 5
    assert len(keys_in(store, KEYS.job(living).runs)) == 2
    assert keys_in(store, KEYS.job(ended).runs) == []
    collector(store, removed, 100 * DAY).run()
    assert removed.objects[Kind.CACHE] == 1


def test_two_collectors_and_runs_that_use_the_caches_do_not_disturb_each_other(
    store: S3Store, removed: Removed
) -> None:
    entries = [f"{KEYS.caches}latents/{number}" for number in range(30)]
    for key in entries:
        store.put_new(key, b"value")

    def use() -> None:
        """As a run does: what is not there is computed again."""
        for key in entries:
            try:
                assert store.get(key) == b"value"
            except NotFound:
                try:
                    store.put_new(key, b"value")
                except AlreadyExists:
                    continue

    with ThreadPoolExecutor() as threads:
        work = [threads.submit(collector(store, removed, 31 * DAY).run) for _ in range(2)]
        work += [threads.submit(use) for _ in range(2)]
        for each in work:
            each.result()
    assert removed.objects[Kind.CACHE] >= len(entries)


def test_parts_that_nobody_completes_are_given_up(
    s3_client: S3Client, bucket: str, store: S3Store, removed: Removed
) -> None:
    for key in ("some/prefix/tenant-a/x", "some/other/x"):
        upload = s3_client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        s3_client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"x")
    collector(store, removed, timedelta(0)).run()
    assert len(s3_client.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 2
    collector(store, removed, 2 * DAY).run()
    (left,) = s3_client.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert left["Key"] == "some/other/x", "what lies outside the store is not ours"
    assert left["Initiated"] <= datetime.now(UTC) + DAY
    s3_client.abort_multipart_upload(Bucket=bucket, Key=left["Key"], UploadId=left["UploadId"])
