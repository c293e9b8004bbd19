"""The service is killed again and again while it launches jobs."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.cluster.aftermath import Witness, census
from tests.cluster.installed import Installed, eventually
from tests.cluster.private_service import private_service
from tests.cluster.training import draw_pictures, job_spec

KILLS = 8
JOBS = 3
LONGEST_LIFE_SECONDS = 1.5
"""Of a service that is killed, from when it serves on: a launch takes less."""


def test_a_service_that_is_killed_at_any_moment_of_launches_loses_none_and_launches_none_twice(
    installed: Installed, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pictures = draw_pictures(tmp_path_factory.mktemp("pictures"))
    draw = random.Random(4)
    with private_service(installed, tmp_path) as private, census(installed, private.namespace) as taken:
        with private.client() as client:
            spec = job_spec(client.upload_dataset(pictures).name, compute_class="gpu-spot")
            names = [client.create_job(spec, request_id=f"job-{number}").name for number in range(JOBS)]
        for _ in range(KILLS):
            lives_until(time.monotonic() + draw.uniform(0, LONGEST_LIFE_SECONDS))
            private.kill()
            private.start()
        with private.client() as client:
            assert [client.create_job(spec, request_id=f"job-{number}").name for number in range(JOBS)] == names
            witness = Witness(client, private.store, private.tenant, taken)
            for name in names:
                witness.trained(name)
            assert len([*client.list_jobs()]) == JOBS


def lives_until(end: float) -> None:
    eventually("its time to come", lambda: time.monotonic() > end)
