from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from service.composition import serving
from service.platforms.local import local_platform
from service.settings import Settings
from tests.service.api.api import Api
from tests.service.api.fakes import FakeExecutor
from tests.service.api.tiny_base import write_base


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def settled(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """No job lives on into the next test, to be looked at all the while."""
    yield
    if "api" in request.fixturenames:
        request.getfixturevalue("api").settle()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A whole service in this process, over a folder, with an executor that starts nothing; one for the tests of a file."""
    tmp_path = tmp_path_factory.mktemp("service")
    (tmp_path / "models").mkdir()
    settings = Settings(
        local=True,
        port=0,
        metrics_port=0,
        data=tmp_path / "data",
        import_root=(tmp_path / "models",),
        hub_endpoint="",
        builtin_shapes=write_base(tmp_path / "shapes"),
        jobs=64,
        upload_limit=3 << 20,
        adapter_limit=1 << 20,
        watch_interval=0.02,
        reconcile_interval=0.05,
        stop_grace=1.0,
    )
    executor = FakeExecutor()
    with local_platform(settings, executor) as platform:
        async with serving(settings, platform) as service, Api.open(service, executor, tmp_path / "models") as api:
            yield api
