"""Records: messages that are written once, and read by versions older and newer than the writer."""

from __future__ import annotations

import json

import pytest

from loramill import v1
from store import ObjectStore, RecordError, open_store, split_uri
from store.files import FileStore
from store.records import put_record, put_status_record, read_record, uri_of

END = v1.End(schema_version=1, exit_code=v1.EXIT_CODE_DIVERGED, message="loss — ∞", step=7, adapters=["a", "b"])


def test_a_record_is_read_as_it_was_written(store: ObjectStore) -> None:
    assert put_record(store, "runs/1/end.json", END) is True
    assert read_record(store, "runs/1/end.json", v1.End) == END


def test_a_record_is_never_changed(store: ObjectStore) -> None:
    put_record(store, "end.json", END)
    assert put_record(store, "end.json", v1.End(schema_version=1, message="later")) is False
    assert read_record(store, "end.json", v1.End) == END


def test_a_status_is_replaced(store: ObjectStore) -> None:
    for step in (1, 2):
        put_status_record(store, "status.json", v1.RunStatus(progress=v1.Progress(step=step)))
        assert read_record(store, "status.json", v1.RunStatus) == v1.RunStatus(
            schema_version=1, progress=v1.Progress(step=step)
        )


def test_a_missing_record_is_none(store: ObjectStore) -> None:
    assert read_record(store, "end.json", v1.End) is None


def test_a_record_is_json_that_people_can_read(file_store: FileStore) -> None:
    put_record(file_store, "end.json", END)
    assert json.loads(file_store.get("end.json")) == {
        "schemaVersion": 1,
        "exitCode": "EXIT_CODE_DIVERGED",
        "message": "loss — ∞",
        "step": 7,
        "adapters": ["a", "b"],
    }
    assert "∞".encode() in file_store.get("end.json")


def test_an_unset_schema_version_is_filled_in_without_touching_the_message(file_store: FileStore) -> None:
    claim = v1.Claim(token="t")
    put_record(file_store, "claim.json", claim)
    assert claim.schema_version == 0
    assert read_record(file_store, "claim.json", v1.Claim) == v1.Claim(schema_version=1, token="t")


def test_a_message_without_schema_version_can_be_a_record_too(file_store: FileStore) -> None:
    put_record(file_store, "file.json", v1.DatasetFile(path="a.png", size_bytes=3))
    assert read_record(file_store, "file.json", v1.DatasetFile) == v1.DatasetFile(path="a.png", size_bytes=3)


def test_fields_that_a_later_version_added_are_passed_over(file_store: FileStore) -> None:
    file_store.put_new("end.json", b'{"schemaVersion": 1, "step": 7, "invented": {"later": [1]}}')
    assert read_record(file_store, "end.json", v1.End) == v1.End(schema_version=1, step=7)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"schemaVersion": 2, "step": 7}', "has schema version 2, expected 1 to 1: upgrade this program"),
        (b'{"schemaVersion": -1}', "has schema version -1, expected 1 to 1: it is damaged"),
        (b'{"step": 7}', "has schema version 0, expected 1 to 1: it is damaged or not from Loramill"),
        (b"", "is not a readable End"),
        (b"[]", "has schema version 0"),
        (b"null", "is not a readable End"),
        (b'{"schemaVersion": 1, "step": "seven"}', "is not a readable End"),
        (b'{"schemaVersion": 1, "step": 7', "is not a readable End"),
        (b"\xff\xfe", "is not a readable End"),
        (b'{"invented": ' + b"[" * 100_000, "is not a readable End"),
    ],
)
def test_what_is_no_record_of_ours_is_named(file_store: FileStore, content: bytes, problem: str) -> None:
    file_store.put_new("end.json", content)
    with pytest.raises(RecordError, match=f"^{file_store.uri}end.json {problem}"):
        read_record(file_store, "end.json", v1.End)


@pytest.mark.parametrize("key", ["runs/1/claim.json", "a b/c%20d/ä#?.json"])
def test_an_address_leads_back_to_the_record(file_store: FileStore, key: str) -> None:
    put_record(file_store, key, END)
    root, name = split_uri(uri_of(file_store, key))
    assert read_record(open_store(root), name, v1.End) == END
