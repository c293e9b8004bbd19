from __future__ import annotations

from collections.abc import Iterator

import pytest

from loramill.client import Client
from tests.cluster.installed import Installed
from tests.cluster.training import draw_pictures


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
