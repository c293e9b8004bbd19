"""A job's compute class over the wire: chosen or named when it is accepted, recorded, and told to every launch."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from loramill import v1
from service.composition import serving
from service.compute_classes import ComputeClass, ComputeClasses
from service.keys import TenantKeys
from service.platforms.local import local_platform
from service.settings import Settings
from store.records import read_record
from tests.service.api.api import Api, error_of
from tests.service.api.fakes import FakeExecutor
from tests.service.api.specs import without_sources
from tests.service.api.tiny_base import write_base

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLASSES = ComputeClasses(
    classes=(
        ComputeClass(name="a10", gpus=1, gpu_memory_gib=24, price_per_hour=1.2, cpu="4", memory="16Gi"),
        ComputeClass(name="a10-spot", gpus=1, gpu_memory_gib=24, price_per_hour=0.4, spot=True, cpu="4", memory="16Gi"),
    ),
    currency="USD",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A service with compute classes, and an executor that starts nothing."""
    path = tmp_path_factory.mktemp("service")
    settings = Settings(
        local=True,
        port=0,
        metrics_port=0,
        data=path / "data",
        builtin_shapes=write_base(path / "shapes"),
        jobs=64,
        reconcile_interval=0.05,
        stop_grace=1.0,
    )
    executor = FakeExecutor()
    with local_platform(settings, executor) as local:
        platform = dataclasses.replace(local, classes=CLASSES)
        async with serving(settings, platform) as service, Api.open(service, executor, path) as api:
            yield api


def create(spec: v1.TrainingSpec, *, validate_only: bool = False) -> v1.CreateTrainingJobRequest:
    return v1.CreateTrainingJobRequest(spec=spec, validate_only=validate_only)


async def test_the_cheapest_class_is_taken_and_told_with_its_price(api: Api) -> None:
    spec = await api.spec()
    spec.compute_needs.gpu_memory_gib = 16
    checked = await api.training.CreateTrainingJob(create(spec, validate_only=True))
    job = await api.training.CreateTrainingJob(create(spec))
    plan = v1.ComputePlan(
        compute_class="a10-spot", gpus=1, gpu_memory_gib=24, spot=True, price_per_hour=0.4, currency="USD"
    )
    assert checked.compute == job.compute == (await api.get(job.name)).compute == plan
    assert checked.spec.compute_class == job.spec.compute_class == "a10-spot"
    assert job.spec.compute_needs == spec.compute_needs
    resolved_again = await api.training.CreateTrainingJob(create(job.spec, validate_only=True))
    assert without_sources(resolved_again.spec) == without_sources(job.spec)


async def test_a_launch_knows_its_class(api: Api) -> None:
    spec = await api.spec()
    spec.compute_class = "a10"
    job = await api.training.CreateTrainingJob(create(spec))
    trainer = await api.launched(job.name)
    assignment = read_record(api.service.store, TenantKeys("local").job(trainer.job).launch(1), v1.Assignment)
    assert assignment is not None
    assert assignment.compute_class == "a10"


async def test_a_class_that_is_not_there_is_refused_by_name(api: Api) -> None:
    spec = await api.spec()
    spec.compute_class = "local"
    spec.compute_needs.gpus = 17
    answer = await error_of(api.training.CreateTrainingJob(create(spec)))
    assert answer.reasons == {"spec.compute_class": "RESOURCE_NOT_FOUND", "spec.compute_needs.gpus": "OUT_OF_RANGE"}
    assert "choose one of a10-spot, a10" in answer.violations["spec.compute_class"]


async def test_the_classes_can_be_listed(api: Api) -> None:
    answer = await api.training.ListComputeClasses(v1.ListComputeClassesRequest())
    assert [(offer.name, offer.price_per_hour) for offer in answer.compute_classes] == [("a10-spot", 0.4), ("a10", 1.2)]


async def test_where_a_job_may_go_is_resolved_told_with_prices_and_recorded(api: Api) -> None:
    spec = await api.spec()
    spec.compute_needs.gpu_memory_gib = 16
    spec.compute_fallback.SetInParent()
    checked = await api.training.CreateTrainingJob(create(spec, validate_only=True))
    job = await api.training.CreateTrainingJob(create(spec))
    further = v1.ComputePlan(compute_class="a10", gpus=1, gpu_memory_gib=24, price_per_hour=1.2, currency="USD")
    assert list(checked.compute_fallbacks) == list((await api.get(job.name)).compute_fallbacks) == [further]
    assert (list(job.spec.compute_fallback.compute_classes), job.spec.compute_fallback.after.seconds) == (["a10"], 900)
    sources = {entry.field: entry.source for entry in job.spec.sources}
    assert sources["compute_fallback.compute_classes"] == "chosen by the operator's rules"
