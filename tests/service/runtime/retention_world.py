"""A store whose clock is the test's, with jobs, datasets, caches and requests in it, and a collector that passes over them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from google.protobuf import json_format

from loramill import v1
from service import indexes
from service.adapters import Adapters
from service.audit import Audit
from service.caller import Caller
from service.collector import Collector
from service.datasets import Datasets
from service.jobs import Jobs
from service.keys import JobKeys, TenantKeys, new_id
from service.remover import Remover
from service.retention import Kind, Retention
from service.times import to_timestamp
from store.object_store import NotFound, ObjectInfo
from store.records import put_record, read_record
from tests.service.runtime.acts import Acts
from tests.service.runtime.world import START, TENANT, MemoryStore, PretendedExecutor

KEYS = TenantKeys(TENANT)
CALLER = Caller(TENANT, "test", "/test", "call")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ADAPTERS, DATASETS, JOBS = "adapters/", "datasets/", "trainingJobs/"


class TimedStore(MemoryStore):
    """Knows when each object was written. `before` hears of every call, `before_change` of those that change something; both
    may act, or raise, before it takes place."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.written: dict[str, datetime] = {}
        self.before: Callable[[], None] = lambda: None
        self.before_change: Callable[[], None] = lambda: None

    def put_new(self, key: str, content: bytes | Path) -> None:
        self.before()
        self.before_change()
        super().put_new(key, content)
        self.written[key] = self.now

    def put_status(self, key: str, content: bytes) -> None:
        self.before()
        self.before_change()
        super().put_status(key, content)
        self.written[key] = self.now

    def get(self, key: str) -> bytes:
        self.before()
        return super().get(key)

    def info(self, key: str) -> ObjectInfo:
        self.before()
        return self._info(key)

    def list(self, prefix: str = "", after: str = "", at_once: int = 1000) -> Iterator[ObjectInfo]:  # noqa: ARG002
        """A page holds what was there when it was asked for, as S3's do: three objects here."""
        while True:
            self.before()
            page = [key for key in sorted(self.objects) if key.startswith(prefix) and key > after][:3]
            yield from [self._info(key) for key in page]
            if len(page) < 3:
                return
            after = page[-1]

    def delete(self, key: str) -> None:
        self.before()
        self.before_change()
        super().delete(key)

    def _info(self, key: str) -> ObjectInfo:
        if key not in self.objects:
            raise NotFound(key)
        return ObjectInfo(key, len(self.objects[key]), self.written[key])


@dataclass
class Removed:
    """What the collector has counted."""

    objects: Counter[Kind] = field(default_factory=Counter)

    def removed(self, kind: Kind, objects: int, size: int) -> None:
        assert size >= 0
        self.objects[kind] += objects


class World:
    """Everything of one tenant."""

    def __init__(self, retention: Retention | None = None) -> None:
        self.store = TimedStore()
        self.retention = retention or Retention()
        self.removed = Removed()
        self.executor = PretendedExecutor(self.store)
        audit = Audit(self.store, self.clock)
        self.datasets = Datasets(self.store, audit, self.clock)
        self.jobs = Jobs(self.store, self.executor, lambda *_: None, audit, self.clock)
        self.adapters = Adapters(self.store, audit, self.clock)

    def clock(self) -> datetime:
        return self.store.now

    def pass_time(self, time: timedelta) -> None:
        self.store.now += time

    def collect(self) -> None:
        """One pass."""
        remover = Remover(self.store, self.removed, threading.Event(), 0.0, self.retention.dry_run)
        Collector(self.store, self.jobs, self.datasets, self.adapters, remover, self.retention, self.clock).run()

    def keys(self, prefix: str = "") -> list[str]:
        return [key for key in sorted(self.store.objects) if key.startswith(prefix)]

    # What others do meanwhile

    def dataset(self, *contents: bytes, finalized: bool = True) -> str:
        """The id of a new dataset."""
        created = self.datasets.create(CALLER, v1.CreateDatasetRequest(request_id=new_id(self.store.now)))
        dataset = created.name.removeprefix(DATASETS)
        for content in contents or (b"picture",):
            self.add_file(dataset, content)
        if finalized:
            self.datasets.finalize(CALLER, dataset)
        return dataset

    def add_file(self, dataset: str, content: bytes) -> None:
        file = v1.DatasetFile(path=content.hex(), sha256=content.hex(), size_bytes=len(content))
        self.datasets.add(CALLER, dataset, file, lambda key: self.store.put_new(key, content))

    def job(self, dataset: str = "") -> str:
        """The id of a job that lives, with one run that has saved a checkpoint and an adapter."""
        job = new_id(self.store.now)
        spec = v1.TrainingSpec(dataset=v1.DatasetSpec(dataset=f"{DATASETS}{dataset}"))
        record = v1.CreateRecord(job_id=job, spec=spec, create_time=to_timestamp(self.store.now))
        put_record(self.store, KEYS.request(job), record)
        self.replay(job)
        assignment = v1.Assignment(training_job=f"{JOBS}{job}", launch=1)
        put_record(self.store, KEYS.job(job).launch(1), assignment)
        acts = self.acts(job)
        acts.claim()
        acts.status()
        acts.adapter("000001")
        self.write(job, step=1)
        return job

    def replay(self, job: str) -> None:
        """The same CreateTrainingJob again, as a caller or a service that starts does it."""
        key = KEYS.request(job)
        record = read_record(self.store, key, v1.CreateRecord)
        if record is not None:
            indexes.accept(self.store, TENANT, key, record)

    def acts(self, job: str) -> Acts:
        return Acts(self.store, KEYS.job(job).run(1).root, job)

    def write(self, job: str, step: int) -> None:
        """What a run writes at a step; a zombie does too."""
        run = KEYS.job(job).run(1).root
        self.store.objects.setdefault(f"{run}checkpoints/000-{step:07d}/state.safetensors", b"state")
        self.store.objects.setdefault(f"{run}checkpoints/000-{step:07d}/manifest.json", b"{}")
        self.store.objects.setdefault(f"{run}logs/{step:06d}.jsonl", b"line\n")
        self.store.objects.setdefault(f"{run}metrics/{step:06d}.json", b"{}")
        for key in self.store.objects:
            self.store.written.setdefault(key, self.store.now)

    def end(self, job: str, state: v1.TrainingJobState.ValueType = v1.TRAINING_JOB_STATE_SUCCEEDED) -> None:
        """As the reconciler does it."""
        outcome = v1.Outcome(state=state, create_time=to_timestamp(self.store.now))
        put_record(self.store, KEYS.job(job).outcome, outcome)
        indexes.put_ended(self.store, TENANT, job, outcome)
        adapter = f"{job}-000001"
        indexes.put_adapter(self.store, TENANT, adapter, KEYS.job(job).run(1).adapter_manifest("000001"))
        indexes.clear_active(self.store, TENANT, job)

    def ended_job(self, dataset: str = "") -> str:
        job = self.job(dataset)
        self.end(job)
        return job

    # What must hold at every moment

    def checkpoints(self, job: str) -> dict[str, set[str]]:
        """Names of files by checkpoint."""
        found: dict[str, set[str]] = {}
        for key in self.keys(f"{KEYS.job(job).runs}1/checkpoints/"):
            folder, _, name = key.rpartition("/")
            found.setdefault(folder, set()).add(name)
        return found

    def check(self) -> None:
        """Raises AssertionError where something is half there, or gone that must not be."""
        for key in self.keys(KEYS.jobs_prefix):
            job = key.removeprefix(KEYS.jobs_prefix).partition("/")[0]
            job_keys = KEYS.job(job)
            for names in self.checkpoints(job).values():
                assert names != {"manifest.json"}, "a checkpoint without its state"
            if job_keys.record in self.store.objects:
                assert KEYS.request(job) in self.store.objects, "a job without its request record"
        for key in self.keys(KEYS.adapters_prefix):
            manifest = self.store.objects[key].decode()
            if KEYS.deleted_adapter(key.removeprefix(KEYS.adapters_prefix)) not in self.store.objects:
                assert manifest in self.store.objects, "an adapter in the index that is not there"
        for dataset, manifest in self._manifests():
            for file in manifest.files:
                assert KEYS.dataset(dataset).blob(file.sha256) in self.store.objects, "a finalized dataset lacks a file"

    def living_is_whole(self, job: str) -> bool:
        keys: JobKeys = KEYS.job(job)
        wanted = [keys.record, keys.launch(1), keys.run(1).claim, KEYS.request(job), KEYS.active(job)]
        return all(key in self.store.objects for key in wanted) and bool(self.checkpoints(job))

    def _manifests(self) -> Iterator[tuple[str, v1.FileManifest]]:
        for key in self.keys(KEYS.datasets_prefix):
            dataset = key.removeprefix(KEYS.datasets_prefix).partition("/")[0]
            dataset_keys = KEYS.dataset(dataset)
            if key == dataset_keys.manifest and dataset_keys.tombstone not in self.store.objects:
                yield dataset, json_format.Parse(self.store.objects[key], v1.FileManifest())
