"""The backends that the store's tests run over: a local folder, and moto's S3 server on loopback."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import stamina

from store import ObjectStore
from store.files import FileStore
from store.s3 import S3Store
from store.s3_client import make_client
from tests.moto_s3 import moto_keys, moto_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(autouse=True)
def _retries_without_pauses() -> Iterator[None]:
    with stamina.set_testing(True, attempts=10):
        yield


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    with moto_s3() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def s3_client(s3_endpoint: str) -> Iterator[S3Client]:
    with moto_keys():
        client = make_client(endpoint_url=s3_endpoint)
    yield client
    client.close()


@pytest.fixture
def bucket(s3_client: S3Client) -> str:
    name = f"bucket-{uuid.uuid4().hex}"
    s3_client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def quick_store(s3_client: S3Client, bucket: str) -> S3Store:
    with moto_keys():
        return S3Store(bucket, "some/prefix", s3_client, quick=True)


@pytest.fixture(params=["file", "s3", "s3-below-a-prefix", "s3-quick"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store of each kind."""
    if request.param == "file":
        return FileStore(tmp_path / "root")
    if request.param == "s3-quick":
        quick: S3Store = request.getfixturevalue("quick_store")
        return quick
    client, bucket = request.getfixturevalue("s3_client"), request.getfixturevalue("bucket")
    return S3Store(bucket, "some/prefix" if request.param == "s3-below-a-prefix" else "", client)


@pytest.fixture
def file_store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "root")
