from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from loramill.client import Client
from tests.cluster import s3_servers
from tests.cluster.installed import Installed
from tests.cluster.s3_servers import S3Server
from tests.cluster.training import draw_pictures

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="module", params=s3_servers.NAMES)
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    """Each real S3 server."""
    return s3_servers.server(request.param)


@pytest.fixture(scope="module")
def s3_client(s3_server: S3Server) -> Iterator[S3Client]:
    """A client of it with the service's rights."""
    client = s3_servers.client_of(s3_server)
    yield client
    client.close()


@pytest.fixture
def bucket(s3_client: S3Client) -> Iterator[str]:
    """An empty bucket of its own."""
    bucket = s3_servers.new_bucket(s3_client)
    yield bucket
    s3_servers.remove_bucket(s3_client, bucket)


@pytest.fixture(scope="session")
def installed() -> Installed:
    """The service that `make cluster` installed."""
    return Installed()


@pytest.fixture(scope="session")
def client(installed: Installed) -> Iterator[Client]:
    """An editor of tenant-a."""
    with installed.client("tenant-a") as client:
        yield client


@pytest.fixture(scope="session")
def dataset(client: Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four pictures of tenant-a; the dataset's name."""
    return client.upload_dataset(draw_pictures(tmp_path_factory.mktemp("pictures"))).name
