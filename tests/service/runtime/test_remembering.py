"""What never changes is asked for once; what may come, change or go is asked for each time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from loramill import v1
from service.keys import BaseKeys, TenantKeys, is_written_once
from service.remembering import RememberingStore
from store.object_store import AlreadyExists, NotFound
from store.records import put_record, read_record
from tests.service.runtime.world import JOB, KEYS, MemoryStore

RECORD, STATUS = KEYS.job(JOB).record, KEYS.job(JOB).run(1).status


class Asked(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.gets: Counter[str] = Counter()

    def get(self, key: str) -> bytes:
        self.gets[key] += 1
        return super().get(key)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def store(asked: Asked) -> RememberingStore:
    return RememberingStore(asked, is_written_once)


def test_a_record_is_read_once_and_what_was_read_is_nobodys_to_change(asked: Asked, store: RememberingStore) -> None:
    put_record(asked, RECORD, v1.CreateRecord(job_id=JOB))
    for _ in range(3):
        record = read_record(store, RECORD, v1.CreateRecord)
        assert record is not None
        assert record.job_id == JOB
        record.job_id = "changed"
    assert asked.gets[RECORD] == 1


def test_who_has_written_a_record_need_not_read_it(asked: Asked, store: RememberingStore) -> None:
    put_record(store, RECORD, v1.CreateRecord(job_id=JOB))
    assert read_record(store, RECORD, v1.CreateRecord) is not None
    assert not asked.gets
    with pytest.raises(AlreadyExists):
        store.put_new(RECORD, b"another")
    assert b"another" not in store.get(RECORD)


def test_what_was_written_need_not_be_parsed_and_is_as_it_would_be_read(store: RememberingStore) -> None:
    record = v1.CreateRecord(job_id=JOB)
    put_record(store, RECORD, record)
    record.job_id = "changed"

    def parse(_: bytes) -> v1.CreateRecord:
        raise AssertionError("it was known")

    known = store.parsed(RECORD, v1.CreateRecord, parse)
    assert (known.job_id, known.schema_version) == (JOB, 1)


def test_a_status_is_read_each_time(asked: Asked, store: RememberingStore) -> None:
    for content in (b"1", b"2"):
        store.put_status(STATUS, content)
        assert store.get(STATUS) == content
    assert asked.gets[STATUS] == 2


def test_what_is_not_there_may_come(asked: Asked, store: RememberingStore) -> None:
    assert read_record(store, RECORD, v1.CreateRecord) is None
    put_record(asked, RECORD, v1.CreateRecord(job_id=JOB))
    assert read_record(store, RECORD, v1.CreateRecord) is not None


def test_what_was_deleted_here_is_gone(store: RememberingStore) -> None:
    put_record(store, RECORD, v1.CreateRecord(job_id=JOB))
    store.delete(RECORD)
    with pytest.raises(NotFound):
        store.get(RECORD)


def test_large_files_are_not_kept(asked: Asked, store: RememberingStore, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 100)
    store.put_new(RECORD, tmp_path / "large")
    store.get(RECORD)
    assert asked.gets[RECORD] == 1


_JOB, _DATASET = TenantKeys("t").job(JOB), TenantKeys("t").dataset(JOB)


@pytest.mark.parametrize(
    ("key", "once"),
    [
        (_JOB.record, True),
        (_JOB.cancel, True),
        (_JOB.outcome, True),
        (_JOB.launch(3), True),
        (_JOB.start(3), True),
        (_JOB.seen_end(3), True),
        (_JOB.run(3).claim, True),
        (_JOB.run(3).end, True),
        (_JOB.run(3).adapter_manifest("final"), True),
        (_DATASET.record, True),
        (_DATASET.seal, True),
        (_DATASET.manifest, True),
        (BaseKeys("b").record, True),
        # Tombstones are what tells a removed thing from a living one; the others are rewritten, or not ours to keep.
        (_JOB.tombstone, False),
        (_DATASET.tombstone, False),
        (_JOB.run(3).status, False),
        (_DATASET.blob("0" * 64), False),
        (TenantKeys("t").active(JOB), False),
        (BaseKeys("b").manifest, False),
    ],
)
def test_which_keys_never_change(key: str, *, once: bool) -> None:
    assert is_written_once(key) is once
