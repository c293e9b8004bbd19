"""Answers that come late, wrong or not at all, with real S3 servers behind them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import stamina

from store import AlreadyExists
from store.s3 import S3Store
from tests.cluster import s3_servers
from tests.store.test_s3 import *  # noqa: F403 (the suite itself: it runs over this module's `s3_client` and `bucket`)
from tests.store.test_s3 import Faulty, client_error

del test_a_large_file_that_comes_second_at_the_last_moment_is_refused  # noqa: F821 (one of the servers does not; see below)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(autouse=True)
def _retries_without_pauses() -> Iterator[None]:
    with stamina.set_testing(True, attempts=10):
        yield


@pytest.fixture(scope="module", params=s3_servers.NAMES)
def server_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def s3_client(server_name: str) -> Iterator[S3Client]:
    client = s3_servers.client_of(s3_servers.server(server_name))
    yield client
    client.close()


@pytest.fixture
def bucket(s3_client: S3Client) -> Iterator[str]:
    bucket = s3_servers.new_bucket(s3_client)
    yield bucket
    s3_servers.remove_bucket(s3_client, bucket)


def test_a_large_file_that_comes_second_at_the_last_moment_is_refused_by_some_servers(
    server_name: str, store: S3Store, rival: S3Store, faulty: Faulty, s3_client: S3Client, large: Path
) -> None:
    """Ceph RGW 16 does not look at the condition of a completion: decision 0011."""
    rival.put_new("large", b"first")
    faulty.fail("head_object", "before", client_error(s3_client, "404", 404), times=2)  # as if it came after both looks
    if server_name == "ceph":
        store.put_new("large", large)
        assert store.get("large") == large.read_bytes()
    else:
        with pytest.raises(AlreadyExists):
            store.put_new("large", large)
        assert store.get("large") == b"first"
