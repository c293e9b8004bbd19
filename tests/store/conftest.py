"""The backends that the store's tests run over: a local folder, and moto's S3 server on loopback."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import stamina
from moto.server import ThreadedMotoServer

from store import ObjectStore
from store.files import FileStore
from store.s3 import S3Store
from store.s3_client import make_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(autouse=True)
def _retries_without_pauses() -> Iterator[None]:
    with stamina.set_testing(True, attempts=10):
        yield


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def s3_client(s3_endpoint: str) -> Iterator[S3Client]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = make_client(endpoint_url=s3_endpoint)
    yield client
    client.close()


@pytest.fixture
def bucket(s3_client: S3Client) -> str:
    name = f"bucket-{uuid.uuid4().hex}"
    s3_client.create_bucket(Bucket=name)
    return name


@pytest.fixture(params=["file", "s3", "s3-below-a-prefix"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store of each kind."""
    if request.param == "file":
        return FileStore(tmp_path / "root")
    client, bucket = request.getfixturevalue("s3_client"), request.getfixturevalue("bucket")
    return S3Store(bucket, "some/prefix" if request.param == "s3-below-a-prefix" else "", client)


@pytest.fixture
def file_store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "root")
