"""What else follows from who calls: the audit record, the end of streams, metrics and log, health."""

from __future__ import annotations

import asyncio
import time
import urllib.request

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from loramill import v1
from loramill.v1.dataset_service_pb2_grpc import DatasetServiceStub
from loramill.v1.training_service_pb2_grpc import TrainingServiceStub
from service.auth import identity
from service.auth.oidc import LEEWAY_S
from service.auth.refusals import BETWEEN_LINES_S, Refusals
from service.health_port import health_port
from store.records import read_record
from tests.service.api.api import answer_of
from tests.service.auth.guarded import Guarded, ago, bearer, code_of
from tests.service.auth.things import everything

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIST = "/loramill.v1.TrainingService/ListTrainingJobs"


async def test_the_audit_record_names_who_it_was(service: Guarded) -> None:
    datasets = DatasetServiceStub(service.plain)
    uri = "spiffe://example/robot"
    name = (await datasets.CreateDataset(v1.CreateDatasetRequest(), metadata=bearer(service.provider.token()))).name
    await datasets.DeleteDataset(v1.DeleteDatasetRequest(name=name), metadata=bearer(service.api_server.token()))
    async with service.channel(service.certificate()) as channel:
        await DatasetServiceStub(channel).CreateDataset(v1.CreateDatasetRequest())
    store = service.service.store
    records = [read_record(store, entry.key, v1.AuditRecord) for entry in store.list("team-a/audit/")]
    found = {record.principal for record in records if record}
    assert found == {"oidc:https://idp.example#robot", "service-account:team-a/robot", f"certificate:{uri}"}


async def test_a_stream_ends_with_the_credentials_that_it_began_with(service: Guarded) -> None:
    names = await everything(service, "team-a", bearer(service.provider.token()))
    brief = service.provider.token(exp=ago(LEEWAY_S - 1))
    watch = TrainingServiceStub(service.plain).WatchTrainingJob(
        v1.WatchTrainingJobRequest(name=names.job), metadata=bearer(brief)
    )
    begun = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async for _ in watch:
            pass
    answer = answer_of(raised.value)
    assert (answer.code, answer.reason) == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_EXPIRED")
    assert time.monotonic() - begun < 5


async def test_refusals_are_counted_by_reason(service: Guarded) -> None:
    await code_of(service.plain, LIST)
    await code_of(service.plain, LIST, bearer("garbage"))
    await code_of(service.plain, LIST, bearer(service.provider.token(exp=ago(120))))
    await code_of(service.plain, LIST, bearer(service.provider.token(sub="stranger")))

    def page() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{service.service.metrics_port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    text = await asyncio.to_thread(page)
    for reason in ("NO_CREDENTIALS", "CREDENTIALS_REFUSED", "CREDENTIALS_EXPIRED", "NO_TENANT"):
        assert f'loramill_authentication_refusals_total{{reason="{reason}"}} ' in text


async def test_nobody_can_fill_the_log() -> None:
    now = 0.0
    refusals = Refusals(CollectorRegistry(), lambda: now)
    with capture_logs() as lines:
        for _ in range(1000):
            refusals.note(identity.refused("audience"), "ipv4:10.0.0.1:5")
            refusals.note(identity.missing(), "ipv4:10.0.0.1:5")
        now = BETWEEN_LINES_S
        refusals.note(identity.refused("form"), "ipv6:%5B::2%5D:5")
    assert [(line["reason"], line["check"], line["not_told_before"]) for line in lines] == [
        ("CREDENTIALS_REFUSED", "audience", 0),
        ("NO_CREDENTIALS", "", 0),
        ("CREDENTIALS_REFUSED", "form", 999),
    ]
    assert lines[-1]["peer"] == "ipv6:[::2]:5"


async def test_health_has_a_port_without_tls_and_turns_when_the_service_stops() -> None:
    healthy = health.aio.HealthServicer()
    async with health_port(healthy, "127.0.0.1", 0) as port, grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        probe = health_pb2_grpc.HealthStub(channel)
        assert (await probe.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        await healthy.enter_graceful_shutdown()
        assert (await probe.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.NOT_SERVING
        code, _ = await code_of(channel, LIST)
        assert code is grpc.StatusCode.UNIMPLEMENTED
