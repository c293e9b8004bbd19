"""The store's whole behaviour, on real S3 servers that differ."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from store import AlreadyExists, ObjectStore, StoreUnavailable
from store.probe import probe
from store.s3 import S3Store
from tests.cluster import s3_servers
from tests.cluster.s3_servers import S3Server
from tests.store.test_object_store import *  # noqa: F403 (the suite itself: it runs over this module's `store`)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(params=["", "some/prefix"], ids=["bucket", "below-a-prefix"])
def store(request: pytest.FixtureRequest, s3_client: S3Client, bucket: str) -> S3Store:
    return S3Store(bucket, request.param, s3_client)


PART = 5 << 20
"""Bytes: the smallest part that S3 takes."""


@pytest.fixture
def in_parts(s3_client: S3Client, bucket: str) -> S3Store:
    """Sends in parts what is larger than the smallest part."""
    return S3Store(bucket, client=s3_client, part_size=PART)


def race(store: ObjectStore, key: str, contents: list[Path]) -> list[Path]:
    """Creates the key from as many threads as there are contents, all at once; the contents of those that returned."""
    start = threading.Barrier(len(contents))

    def create(content: Path) -> list[Path]:
        start.wait()
        with contextlib.suppress(AlreadyExists):
            store.put_new(key, content)
            return [content]
        return []

    with ThreadPoolExecutor(len(contents)) as threads:
        return [content for won in threads.map(create, contents) for content in won]


def large_file(path: Path, sign: bytes) -> Path:
    path.write_bytes(sign * (2 * PART + 1))
    return path


def test_the_probe_finds_nothing(store: S3Store) -> None:
    store.put_new("tenant/key", b"")
    probe(store)
    assert [found.key for found in store.list()] == ["tenant/key"]


def test_a_store_with_certificates_of_its_own_authority(
    s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    tls = s3_servers.tls_server(s3_server.name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", tls.endpoint)
    with pytest.raises(StoreUnavailable, match="set AWS_CA_BUNDLE"):
        S3Store(bucket).put_new("key", b"content")
    monkeypatch.setenv("AWS_CA_BUNDLE", tls.ca)
    S3Store(bucket).put_new("key", b"content")
    assert S3Store(bucket).get("key") == b"content"


def test_racers_with_one_large_content_leave_it_whole(in_parts: S3Store, tmp_path: Path) -> None:
    content = large_file(tmp_path / "content", b"x")
    won = race(in_parts, "large", [content] * 6)
    assert won
    in_parts.fetch("large", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == content.read_bytes()


def test_racers_with_large_contents_leave_one_of_them_and_whoever_comes_later_loses(
    s3_server: S3Server, in_parts: S3Store, tmp_path: Path
) -> None:
    contents = [large_file(tmp_path / str(number), str(number).encode()) for number in range(6)]
    won = race(in_parts, "large", contents)
    there = in_parts.get("large")
    assert there in [content.read_bytes() for content in won]
    # Ceph does not look at the condition of a completion: decision 0011.
    assert len(won) == 1 or s3_server.name == "ceph"
    with pytest.raises(AlreadyExists):
        in_parts.put_new("large", contents[0])
    assert in_parts.get("large") == there
