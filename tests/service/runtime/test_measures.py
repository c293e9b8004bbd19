"""What the service measures: right, bounded, and named as Prometheus wants it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import CollectorRegistry, generate_latest

from loramill import v1
from loramill.v1 import (
    adapter_service_pb2,
    base_model_service_pb2,
    dataset_service_pb2,
    training_service_pb2,
)
from service.auth.refusals import Refusals
from service.collecting import CollectorCounts
from service.facts import JobFacts, LaunchFacts
from service.kubernetes_api import JOBS, PODS
from service.kubernetes_errors import NotFound
from service.living_jobs import STALLED_AFTER, LivingJobs
from service.metrics import KubernetesMetrics, RpcMetrics, StoreMetrics
from service.reconciler_counts import ReconcilerCounts
from service.retention import Kind
from service.times import to_timestamp
from service.usage import gpu_seconds
from tests.service.runtime.fake_cluster import BROKEN, NAMESPACE, FakeCluster
from tests.service.runtime.world import JOB, START

if TYPE_CHECKING:
    from service.executors import Execution

PLAN = v1.ComputePlan(compute_class="l4", gpus=2)
CREATE = v1.CreateRecord(job_id=JOB, create_time=to_timestamp(START), compute=PLAN)


def stamp(second: float) -> Timestamp:
    return to_timestamp(START + timedelta(seconds=second))


def launch(
    number: int = 1,
    recorded: float = 10,
    started: float | None = None,
    ended: float | None = None,
    step: int | None = None,
    execution: Execution | None = None,
) -> LaunchFacts:
    facts = LaunchFacts(
        v1.Assignment(launch=number, create_time=stamp(recorded), compute_class="l4"), execution=execution
    )
    if started is not None:
        facts = replace(
            facts, start=v1.LaunchStart(started_time=stamp(started)), claim=v1.Claim(create_time=stamp(started + 1))
        )
    if ended is not None:
        facts = replace(facts, end=v1.End(exit_code=v1.EXIT_CODE_PREEMPTED, create_time=stamp(ended)))
    if step is not None:
        progress = v1.Progress(phase=v1.PHASE_TRAINING, step=step, steps=100)
        facts = replace(facts, status=v1.RunStatus(progress=progress))
    return facts


def job(*launches: LaunchFacts, tenant: str = "art", create: v1.CreateRecord = CREATE) -> JobFacts:
    return JobFacts(tenant, JOB, create, launches)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"loramill_{name}", labels)


@pytest.mark.parametrize(
    ("launches", "used"),
    [
        ((), {}),
        ((launch(),), {}),
        ((launch(started=20, ended=50),), {"l4": 60}),
        ((launch(started=20, ended=50), launch(2, 60, started=70, ended=75)), {"l4": 70}),
        ((launch(started=20),), {"l4": 160}),  # its end was seen by nobody
        ((launch(started=20, ended=10),), {"l4": 0}),  # of two clocks
    ],
)
def test_gpu_time_is_that_of_containers(launches: tuple[LaunchFacts, ...], used: dict[str, float]) -> None:
    assert gpu_seconds(job(*launches), START + timedelta(seconds=100)) == used


def test_gpu_time_of_no_gpus_is_none() -> None:
    create = v1.CreateRecord(job_id=JOB, create_time=to_timestamp(START))
    assert gpu_seconds(job(launch(started=20, ended=50), create=create), START) == {}


class Clock:
    """Stands still until it is moved."""

    now = START

    def __call__(self) -> datetime:
        return self.now


def test_living_jobs_are_told_by_state_and_forgotten_at_their_end() -> None:
    registry, clock = CollectorRegistry(), Clock()
    living = LivingJobs(registry, clock)
    living.looked_at("art", "a", job())
    living.looked_at("art", "b", job(launch(started=20, step=3)))
    clock.now = START + timedelta(seconds=90)
    assert value(registry, "jobs", state="QUEUED", reason="QUEUE_POSITION") == 1
    assert value(registry, "jobs", state="RUNNING", reason="TRAINING") == 1
    assert value(registry, "queue_waiting", compute_class="l4") == 1
    assert value(registry, "queue_oldest_wait_seconds", compute_class="l4") == 90
    assert value(registry, "gpus_in_use", tenant="art", compute_class="l4") == 2
    living.looked_at("art", "b", None)
    living.looked_at("art", "never-seen", None)
    assert value(registry, "jobs", state="RUNNING", reason="TRAINING") is None
    assert value(registry, "gpus_in_use", tenant="art", compute_class="l4") == 0


def test_a_running_job_that_tells_nothing_new_counts_as_stalled_until_it_does() -> None:
    registry, clock = CollectorRegistry(), Clock()
    living = LivingJobs(registry, clock)
    for _ in range(3):
        living.looked_at("art", "a", job(launch(started=20, step=3)))
        living.looked_at("art", "waits", job())
        assert value(registry, "jobs_stalled") == 0
        clock.now += STALLED_AFTER / 2
    assert value(registry, "jobs_stalled") == 1, "one that waits is not stalled"
    living.looked_at("art", "a", job(launch(started=20, step=4)))
    assert value(registry, "jobs_stalled") == 0


def test_waits_launches_ends_and_gpu_time_are_counted() -> None:
    registry = CollectorRegistry()
    counts = ReconcilerCounts(registry)
    counts.launched(job(), launch(recorded=40).assignment)
    counts.launched(job(launch()), launch(2, 60).assignment)
    assert value(registry, "queue_wait_seconds_sum", compute_class="l4") == 40
    assert value(registry, "queue_wait_seconds_count", compute_class="l4") == 1, "a job waits in the queue once"
    assert [value(registry, "launches_total", kind=kind) for kind in ("first", "repeated")] == [1, 1]
    counts.started(launch(recorded=40).assignment, v1.LaunchStart(started_time=stamp(47)))
    assert value(registry, "launch_seconds_sum", compute_class="l4") == 7
    failed = v1.Outcome(state=v1.TRAINING_JOB_STATE_FAILED, reason=v1.STATE_REASON_DIVERGED, create_time=stamp(100))
    counts.ended(job(launch(started=20, ended=50)), failed)
    assert value(registry, "jobs_ended_total", state="FAILED", reason="DIVERGED") == 1
    assert value(registry, "gpu_seconds_total", tenant="art", compute_class="l4") == 60


def test_what_will_be_counted_is_nothing_before() -> None:
    """Else the first of each would be seen by no rate, and the error budgets would miss it."""
    registry = CollectorRegistry()
    RpcMetrics(registry)
    Refusals(registry)
    ReconcilerCounts(registry, ["l4"])
    create = "/loramill.v1.TrainingService/CreateTrainingJob"
    assert value(registry, "rpc_total", method=create, code="INTERNAL") == 0
    assert value(registry, "authentication_refusals_total", reason="CREDENTIALS_REFUSED") == 0
    assert value(registry, "jobs_ended_total", state="FAILED", reason="STORAGE") == 0
    assert value(registry, "launches_total", kind="first") == 0
    assert value(registry, "launch_seconds_count", compute_class="l4") == 0
    assert value(registry, "queue_wait_seconds_count", compute_class="l4") == 0


def test_every_attempt_at_the_api_server_is_counted(tmp_path: Path) -> None:
    registry, cluster = CollectorRegistry(), FakeCluster(controls_jobs=False)
    broken = iter([BROKEN])
    cluster.faults = lambda method, _: next(broken, None) if method == "GET" else None
    with cluster.serving(tmp_path, observer=KubernetesMetrics(registry)) as api:
        with pytest.raises(NotFound):
            api.get(PODS, NAMESPACE, "a")
        api.list(JOBS, NAMESPACE)
        cluster.drop_watches()
    counted = {
        (sample.labels["verb"], sample.labels["resource"], sample.labels["answer"]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "loramill_kubernetes_requests_total"
    }
    assert counted == {("get", "pods", "500"): 1, ("get", "pods", "404"): 1, ("list", "jobs", "200"): 1}
    assert value(registry, "kubernetes_request_seconds_count", verb="get") == 2


# -- the page as a whole -----------------------------------------------------------------------------------------------

TENANTS = [f"tenant-{number}" for number in range(20)]
CLASSES = [f"class-{number}" for number in range(8)]
JOBS_OF_A_LARGE_SERVICE = 10_000


def methods() -> Iterator[str]:
    for module in (training_service_pb2, dataset_service_pb2, adapter_service_pb2, base_model_service_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            yield from (f"/{service.full_name}/{method.name}" for method in service.methods)


def example(tenant: str, compute_class: str, launched: bool) -> JobFacts:
    plan = v1.ComputePlan(compute_class=compute_class, gpus=1)
    create = v1.CreateRecord(job_id=JOB, create_time=to_timestamp(START), compute=plan)
    first = launch(started=20)
    first.assignment.compute_class = compute_class
    return job(*((first,) if launched else ()), tenant=tenant, create=create)


def large_service() -> CollectorRegistry:
    """Everything that can be measured was, for many jobs of many tenants, on every class."""
    registry = CollectorRegistry()
    rpc, refusals, counts = RpcMetrics(registry), Refusals(registry), ReconcilerCounts(registry)
    del refusals
    for method, code in itertools.product(methods(), ("OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE")):
        rpc.observe(method, code, 0.1)
    store, kubernetes, collector = StoreMetrics(registry), KubernetesMetrics(registry), CollectorCounts(registry)
    operations = ("PutObject", "GetObject", "HeadObject", "DeleteObject", "ListObjectsV2", "UploadPart", "CopyObject")
    for operation, answer in itertools.product(operations, ("200", "404", "412", "503", "none")):
        store.answered(operation, answer, 0.1)
    verbs = ("get", "list", "watch", "create", "update", "patch", "delete")
    for verb, resource, answer in itertools.product(verbs, ("jobs", "pods", "secrets"), ("200", "404", "500", "none")):
        kubernetes.answered(verb, resource, answer, 0.1)
    for kind in Kind:
        collector.removed(kind, 1, 1)
    kinds = list(itertools.product(TENANTS, CLASSES, (True, False)))
    living = [example(*kind) for kind in kinds]
    for number in range(JOBS_OF_A_LARGE_SERVICE):
        facts = living[number % len(living)]
        counts.looked_at(facts.tenant, f"{number}", facts)
    ends = itertools.product(
        (v1.TRAINING_JOB_STATE_SUCCEEDED, v1.TRAINING_JOB_STATE_FAILED, v1.TRAINING_JOB_STATE_CANCELLED),
        v1.StateReason.values()[1:],
    )
    for facts, (state, reason) in zip(itertools.cycle(living), ends, strict=False):
        counts.ended(facts, v1.Outcome(state=state, reason=reason, create_time=stamp(100)))
    for facts in living:
        counts.ended(facts, v1.Outcome(state=v1.TRAINING_JOB_STATE_SUCCEEDED, create_time=stamp(100)))
        for each in facts.launches:
            assert each.start is not None
            counts.launched(replace(facts, launches=()), each.assignment)
            counts.started(each.assignment, each.start)
    return registry


@pytest.fixture(scope="module")
def page() -> str:
    return generate_latest(large_service()).decode()


def test_ten_thousand_jobs_have_less_than_two_thousand_series(page: str) -> None:
    series = [line for line in page.splitlines() if not line.startswith("#")]
    assert 500 < len(series) <= 2000


def test_names_helps_and_units_are_prometheus_own(page: str) -> None:
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (.*)$", page, re.MULTILINE))
    assert kinds.keys() == helps.keys()
    for name, kind in kinds.items():
        assert re.fullmatch(r"loramill_[a-z_]+", name), name
        assert (kind == "counter") == name.endswith("_total"), name
        assert helps[name].endswith("."), name
        assert not re.search(r"milli|minutes|hours|percent|_ms|_mb|count_|gauge|histogram", name), name
        if kind == "histogram":
            assert name.endswith("_seconds"), name


def test_no_label_names_a_job(page: str) -> None:
    labels = {name for group in re.findall(r"\{([^}]*)\}", page) for name in re.findall(r'(\w+)="', group)}
    assert labels == {
        "answer", "code", "compute_class", "kind", "le", "method", "operation", "reason", "resource", "state", "tenant", "verb"
    }  # fmt: skip
