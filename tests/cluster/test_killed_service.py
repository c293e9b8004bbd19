"""The service is killed again and again while it accepts and launches jobs."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from loramill import errors
from tests.cluster.aftermath import Witness, census
from tests.cluster.installed import Installed, eventually
from tests.cluster.private_service import private_service
from tests.cluster.training import draw_pictures, job_spec

KILLS = 3
LONGEST_LIFE_SECONDS = 2.0
"""Of a service from the moment at which a job is asked for: it is accepted, recorded and launched in less."""


def test_a_service_that_is_killed_at_any_moment_of_a_launch_loses_none_and_launches_none_twice(
    installed: Installed, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pictures = draw_pictures(tmp_path_factory.mktemp("pictures"))
    draw = random.Random(4)
    with private_service(installed, tmp_path) as private, census(installed, private.namespace) as taken:
        with private.client() as client:
            spec = job_spec(client.upload_dataset(pictures).name, compute_class="gpu-spot")

        def create(request_id: str) -> None:
            with private.client() as client, suppress(errors.Unreachable):
                client.create_job(spec, request_id=request_id)

        requests = [f"request-{number}" for number in range(KILLS)]
        with ThreadPoolExecutor() as callers:
            for request in requests:
                callers.submit(create, request)
                _wait(draw.uniform(0, LONGEST_LIFE_SECONDS))
                private.kill()
                private.start()
        with private.client() as client:
            names = [client.create_job(spec, request_id=request).name for request in requests]
            witness = Witness(client, private.store, private.tenant, taken)
            for name in names:
                witness.trained(name)
            assert sorted(job.name for job in client.list_jobs()) == sorted(names)


def _wait(seconds: float) -> None:
    end = time.monotonic() + seconds
    eventually("the time to come", lambda: time.monotonic() > end)
