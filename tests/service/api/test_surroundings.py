"""What surrounds every call: ids, errors, identity, measurement, health and reflection."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Callable

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from loramill import v1
from service.auth.loopback import loopback_caller
from service.errors import NotIdentified
from service.jobs import Jobs
from store.files import FileStore
from store.object_store import StoreUnavailable
from tests.service.api.api import Api, answer_of, error_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def page_of_metrics(api: Api) -> str:
    url = f"http://127.0.0.1:{api.service.metrics_port}/metrics"

    def read() -> str:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())

    return await asyncio.to_thread(read)


async def test_an_unforeseen_error_tells_the_caller_an_id_and_nothing_else(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> v1.TrainingJob:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(Jobs, "get", fail)
    call = api.training.GetTrainingJob(
        v1.GetTrainingJobRequest(name="trainingJobs/0123456789abcdef"), metadata=(("x-call-id", "my-call-7"),)
    )
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    answer = answer_of(raised.value)
    assert (answer.code, answer.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "my-call-7" in answer.message
    assert "secret" not in str(raised.value)
    assert dict(raised.value.trailing_metadata())["x-call-id"] == "my-call-7"
    written = capsys.readouterr()
    assert "my-call-7" in written.out + written.err
    assert "the secret inside" in written.out + written.err


async def test_a_store_that_fails_is_unavailable(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise StoreUnavailable("the store did not answer")

    monkeypatch.setattr(FileStore, "get", fail)
    answer = await error_of(api.bases.GetBaseModel(v1.GetBaseModelRequest(name="baseModels/unread")))
    assert (answer.code, answer.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")


async def test_every_answer_carries_a_call_id(api: Api) -> None:
    call = api.bases.ListBaseModels(v1.ListBaseModelsRequest())
    await call
    assert len(str(dict(await call.trailing_metadata())["x-call-id"])) == 32


@pytest.mark.parametrize(
    ("peer", "served"),
    [
        ("ipv4:127.0.0.1:5000", True),
        ("ipv6:%5B::1%5D:5000", True),
        ("unix:/run/x", True),
        ("ipv4:10.0.0.1:5000", False),
        ("ipv4:128.127.0.1:5000", False),
        ("ipv6:%5B2001:db8::1%5D:5000", False),
        ("", False),
    ],
)
async def test_without_authentication_only_loopback_is_served(peer: str, served: bool) -> None:
    identify: Callable[[], object] = lambda: loopback_caller(peer, "m", "c")  # noqa: E731
    if served:
        assert identify()
    else:
        with pytest.raises(NotIdentified):
            identify()


async def test_calls_and_jobs_are_counted(api: Api) -> None:
    await api.bases.ListBaseModels(v1.ListBaseModelsRequest())
    await error_of(api.training.GetTrainingJob(v1.GetTrainingJobRequest(name="nonsense")))
    await api.ended_job()
    page = await page_of_metrics(api)
    assert 'loramill_rpc_total{code="OK",method="/loramill.v1.BaseModelService/ListBaseModels"}' in page
    assert (
        'loramill_rpc_total{code="INVALID_ARGUMENT",method="/loramill.v1.TrainingService/GetTrainingJob"} 1.0' in page
    )
    assert 'loramill_rpc_seconds_count{method="/loramill.v1.BaseModelService/ListBaseModels"}' in page
    assert 'loramill_queue_wait_seconds_count{compute_class="local"} 1.0' in page
    assert "loramill_queue_places " in page
    assert "loramill_jobs{" not in page, "it lives no more"
    assert 'loramill_jobs_ended_total{reason="COMPLETED",state="SUCCEEDED"} 1.0' in page


async def test_health_and_reflection_answer(api: Api) -> None:
    health = health_pb2_grpc.HealthStub(api.channel)
    for service in ("", "loramill.v1.TrainingService"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    watch = health.Watch(health_pb2.HealthCheckRequest(service=""))
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
    reflection = reflection_pb2_grpc.ServerReflectionStub(api.channel)
    call = reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    answer = await call.read()
    names = {service.name for service in answer.list_services_response.service}
    assert {f"loramill.v1.{kind}Service" for kind in ("Training", "Dataset", "Adapter", "BaseModel")} <= names
    call.cancel()
