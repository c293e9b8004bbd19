"""Whoever counts requests hears of each attempt, with S3's own word for it and the answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from store import AlreadyExists, NotFound, StoreUnavailable
from store.s3 import S3Store
from store.s3_client import make_client
from tests.moto_s3 import moto_keys


class Heard:
    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []

    def answered(self, operation: str, answer: str, seconds: float) -> None:
        assert 0 < seconds < 60
        self.requests.append((operation, answer))


def test_each_request_is_heard_of(s3_endpoint: str, bucket: str, tmp_path: Path) -> None:
    heard = Heard()
    with moto_keys():
        store = S3Store(bucket, client=make_client(endpoint_url=s3_endpoint), observer=heard)
        store.put_new("a", b"1")
        with pytest.raises(AlreadyExists):
            store.put_new("a", b"2")
        with pytest.raises(NotFound):
            store.get("b")
        store.fetch("a", tmp_path / "a")
        assert [entry.key for entry in store.list()] == ["a"]
    assert heard.requests[:2] == [("PutObject", "200"), ("PutObject", "412")]
    assert ("GetObject", "404") in heard.requests
    assert heard.requests[-1] == ("ListObjectsV2", "200")


def test_no_answer_is_one_too_and_each_attempt_counts(bucket: str) -> None:
    heard = Heard()
    with moto_keys():
        store = S3Store(bucket, client=make_client(endpoint_url="http://127.0.0.1:1"), observer=heard)
        with pytest.raises(StoreUnavailable):
            store.get("a")
    assert heard.requests == [("GetObject", "none")] * 10
