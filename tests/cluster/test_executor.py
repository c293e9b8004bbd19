"""The Kubernetes executor on a real cluster, with a stand-in that ends as it is told in the trainer's place."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.cluster.control_plane import kubectl
from loramill import v1
from service.compute_classes import ComputeClass, ComputeClasses
from service.executors import Execution, ExecutionState
from service.executors.cluster_cache import ClusterCache
from service.executors.credential_keeper import CredentialKeeper
from service.executors.kubernetes import KubernetesExecutor
from service.keys import new_id
from service.kubernetes_api import KubernetesApi, api_at
from service.kubernetes_names import LaunchId
from service.pod_settings import PodSettings
from service.times import to_timestamp, utc_now
from service.trainer_credentials import TrainerCredentials
from tests.cluster.api_server import RESTRICTED, api_server
from tests.cluster.installed import eventually
from tests.cluster.standin_image import standin_image

NOWHERE = f"registry.invalid/trainer@sha256:{'0' * 64}"
SMALL = ComputeClass(
    name="small", gpus=0, cpu="100m", memory="64Mi", ephemeral_storage="64Mi", shm="1Mi", termination_grace_seconds=4
)
CLASSES = ComputeClasses(
    classes=(SMALL, SMALL.model_copy(update={"name": "nowhere", "gpus": 16})),
)
EXITED, RUNNING, PENDING = ExecutionState.EXITED, ExecutionState.RUNNING, ExecutionState.PENDING
SECONDS_TO_TELL = 10
"""Within which a caller hears why a job does not run."""


class Fixed:
    """Credentials that open nothing."""

    lifetime = timedelta(hours=1)
    environment: dict[str, str] = {}  # noqa: RUF012
    service_account = None

    def issue(self, tenant: str, job: str, number: int, assignment: v1.Assignment) -> TrainerCredentials:  # noqa: ARG002
        return TrainerCredentials({"config": b"", "credentials.json": b"{}"}, utc_now() + self.lifetime)


@dataclass
class Launch:
    """One launch, with the replica that made it."""

    executor: KubernetesExecutor
    id: LaunchId

    def begins(self, act: str, compute_class: str = "small") -> Launch:
        """`act` is what the stand-in does."""
        assignment = v1.Assignment(launch=1, compute_class=compute_class, create_time=to_timestamp(utc_now()))
        self.executor.launch(self.id.tenant, self.id.job, 1, assignment, f"s3://bucket/{act}")
        return self

    def seen(self) -> Execution:
        return self.executor.observe(self.id.tenant, self.id.job, 1)

    def comes_to(self, state: ExecutionState, seconds: float = 60) -> Execution:
        execution: Execution = eventually(
            f"{self.id.name} to be {state.value}", lambda: (now := self.seen()).state is state and now, seconds
        )
        return execution

    def tells(self, reason: str, seconds: float = SECONDS_TO_TELL) -> Execution:
        wanted = v1.StateReason.Value(f"STATE_REASON_{reason}")
        execution: Execution = eventually(
            f"{self.id.name} to tell {reason}", lambda: (now := self.seen()).reason == wanted and now, seconds
        )
        return execution

    def stop(self) -> None:
        self.executor.stop(self.id.tenant, self.id.job, 1)

    def log(self) -> bytes | None:
        return self.executor.read_log(self.id.tenant, self.id.job, 1, 0)


@pytest.fixture(scope="module")
def api() -> KubernetesApi:
    description = json.loads(Path(os.environ.get("LORAMILL_CLUSTER", "build/cluster/cluster.json")).read_text())
    return api_at(Path(description["kubeconfig"]))


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    with api_server().namespace(RESTRICTED) as name:
        yield name


def replica(api: KubernetesApi, namespace: str, **settings: Any) -> KubernetesExecutor:
    pod = PodSettings(
        **{"namespace": namespace, "image": standin_image(), "image_pull_policy": "Never", **settings},
    )
    cache = ClusterCache(api, namespace)
    return KubernetesExecutor(api, cache, CredentialKeeper(api, cache, Fixed(), pod, lambda _: None), pod, CLASSES)


@pytest.fixture(scope="module")
def executor(api: KubernetesApi, namespace: str) -> Iterator[KubernetesExecutor]:
    executor = replica(api, namespace)
    with executor.following(lambda *_: None):
        yield executor


@pytest.fixture
def launch(executor: KubernetesExecutor) -> Iterator[Launch]:
    launch = Launch(executor, LaunchId("tenant-a", new_id(utc_now()), 1))
    yield launch
    launch.stop()


def on(namespace: str, *arguments: str) -> str:
    return kubectl("--namespace", namespace, *arguments)


def pod_of(namespace: str, launch: Launch) -> str:
    return on(namespace, "get", "pods", "-l", f"loramill.dev/job={launch.id.job}", "-o", "name").strip()


# -- from beginning to end -------------------------------------------------------------------------------------------------


def test_a_pod_runs_with_its_secret_and_its_log_is_live(namespace: str, launch: Launch) -> None:
    running = launch.begins("wait").comes_to(RUNNING)
    assert running.node
    assert running.scheduled_time is not None
    assert running.started_time is not None
    assert running.scheduled_time <= running.started_time
    about = f"reason=FailedMount,involvedObject.name={pod_of(namespace, launch).removeprefix('pod/')}"
    assert on(namespace, "get", "events", "--field-selector", about, "-o", "name") == ""
    eventually("the log", lambda: launch.log() == b"begun\n")


@pytest.mark.parametrize("code", [0, 42, v1.EXIT_CODE_OUT_OF_MEMORY])
def test_exit_codes_are_known_also_when_the_pod_is_gone(namespace: str, launch: Launch, code: int) -> None:
    assert launch.begins(f"exit-{code}").comes_to(EXITED).exit_code == code
    on(namespace, "delete", pod_of(namespace, launch))
    eventually("the pod to be gone", lambda: launch.log() is None)
    assert launch.comes_to(EXITED).exit_code == code
    launch.executor.forget(launch.id.tenant, launch.id.job, 1)
    launch.comes_to(ExecutionState.ABSENT)
    eventually("the Secret to be gone", lambda: launch.id.name not in on(namespace, "get", "secrets", "-o", "name"))


def test_many_replicas_and_calls_make_one_pod(api: KubernetesApi, namespace: str, launch: Launch) -> None:
    others = [Launch(replica(api, namespace), launch.id) for _ in range(3)]
    assignment = v1.Assignment(launch=1, compute_class="small", create_time=to_timestamp(utc_now()))
    name = (launch.id.tenant, launch.id.job, 1, assignment, "s3://bucket/wait")

    async def all_at_once() -> None:
        await asyncio.gather(*(asyncio.to_thread(each.executor.launch, *name) for each in [launch, *others] * 4))

    asyncio.run(all_at_once())
    launch.comes_to(RUNNING)
    assert len(pod_of(namespace, launch).split()) == 1


# -- why it does not run ---------------------------------------------------------------------------------------------------


def test_a_class_that_fits_no_node_is_told_and_stopped(launch: Launch) -> None:
    found = launch.begins("wait", "nowhere").tells("UNSCHEDULABLE")
    assert "Insufficient nvidia.com/gpu" in found.message
    launch.stop()
    launch.comes_to(ExecutionState.ABSENT, 10)


@pytest.mark.parametrize(
    ("settings", "reason", "says"),
    [
        ({"image": NOWHERE, "image_pull_policy": "IfNotPresent"}, "IMAGE_PULL", "registry.invalid"),
        ({"image": NOWHERE}, "IMAGE_PULL", "not present"),
        ({"service_account_name": "missing"}, "STARTING", 'serviceaccount "missing" not found'),
        ({"queue_name": "gpus"}, "SUSPENDED", "queue gpus"),
    ],
)
def test_what_keeps_a_pod_from_running_is_told(
    api: KubernetesApi, namespace: str, launch: Launch, settings: dict[str, str], reason: str, says: str
) -> None:
    other = Launch(replica(api, namespace, **settings), launch.id)
    with other.executor.following(lambda *_: None):
        found = other.begins("wait").tells(reason)
        assert says in found.message
        assert (found.state, found.suspended) == (PENDING, False)
        other.stop()
        other.comes_to(ExecutionState.ABSENT, 10)


def test_a_quota_is_told_and_when_it_is_raised_the_pod_comes(launch: Launch, namespace: str) -> None:
    on(namespace, "create", "quota", "none", "--hard=pods=0")
    try:
        eventually(
            "the quota", lambda: "pods" in on(namespace, "get", "quota", "none", "-o", "jsonpath={.status.used}")
        )
        assert "exceeded quota: none" in launch.begins("wait").tells("QUOTA").message
    finally:
        on(namespace, "delete", "quota", "none")
    launch.comes_to(RUNNING, 90)


def test_kueues_part_played_by_hand(api: KubernetesApi, namespace: str, launch: Launch) -> None:
    other = Launch(replica(api, namespace, queue_name="gpus"), launch.id)
    with other.executor.following(lambda *_: None):
        other.begins("wait").tells("SUSPENDED")
        suspend(namespace, other, False)
        other.comes_to(RUNNING)
        suspend(namespace, other, True)
        eventually("the pod to be gone", lambda: not pod_of(namespace, other))
        # Whether the Job has failed by its trainer's exit is the Job controller's luck; it is held back by nobody's hand.
        found = other.seen()
        assert (found.exit_code, found.reason) in ((v1.EXIT_CODE_PREEMPTED, 0), (None, v1.STATE_REASON_SUSPENDED))
        assert not found.suspended


# -- what ends it ----------------------------------------------------------------------------------------------------------


def test_to_stop_is_to_ask_and_the_pod_is_gone(namespace: str, launch: Launch) -> None:
    launch.begins("wait").comes_to(RUNNING)
    launch.stop()
    assert launch.seen().alive
    launch.comes_to(ExecutionState.ABSENT, 30)
    assert pod_of(namespace, launch) == ""


def test_a_trainer_that_does_not_listen_is_killed_after_its_grace(launch: Launch) -> None:
    launch.begins("deaf").comes_to(RUNNING)
    launch.stop()
    launch.comes_to(ExecutionState.ABSENT, 30)


def test_memory_without_end(launch: Launch) -> None:
    found = launch.begins("eat").tells("OUT_OF_MEMORY", 60)
    assert (found.state, found.exit_code) == (EXITED, 137)
    assert "limit of 64Mi" in found.message


def test_a_full_disk(launch: Launch) -> None:
    found = launch.begins("fill-256").tells("EVICTED", 120)
    assert found.state is EXITED
    assert "64Mi" in found.message


def test_an_eviction_is_remembered_by_the_job(namespace: str, launch: Launch) -> None:
    launch.begins("deaf").comes_to(RUNNING)
    pod = pod_of(namespace, launch).removeprefix("pod/")
    metadata = {"name": pod, "namespace": namespace}
    body = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata})
    kubectl("create", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", "-f", "-", text=body)
    assert launch.seen().state is RUNNING  # it has its time of grace
    assert launch.comes_to(EXITED).reason == v1.STATE_REASON_PREEMPTED
    eventually("the pod to be gone", lambda: not pod_of(namespace, launch))
    assert launch.seen().reason == v1.STATE_REASON_PREEMPTED


def test_a_pod_that_is_deleted_by_hand_ends_its_launch(namespace: str, launch: Launch) -> None:
    launch.begins("wait").comes_to(RUNNING)
    on(namespace, "delete", "--wait=false", pod_of(namespace, launch))
    assert launch.comes_to(EXITED).exit_code == v1.EXIT_CODE_PREEMPTED


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_a_job_that_is_deleted_by_hand_lives_as_long_as_its_pod(namespace: str, launch: Launch, cascade: str) -> None:
    launch.begins("deaf").comes_to(RUNNING)
    on(namespace, "delete", "job", launch.id.name, f"--cascade={cascade}", "--wait=false")
    states = []
    eventually("it to be gone", lambda: not (states.append(launch.seen().alive) or states[-1]), 30)
    eventually("the pod to be gone", lambda: not pod_of(namespace, launch))
    assert len(states) > 10  # it was alive for its time of grace


def test_a_pod_that_lost_its_job_is_stopped_by_itself(namespace: str, launch: Launch) -> None:
    launch.begins("wait").comes_to(RUNNING)
    on(namespace, "delete", "job", launch.id.name, "--cascade=orphan")
    assert launch.seen().state is RUNNING
    eventually("it to be gone", lambda: not (launch.stop() or launch.seen().alive), 30)
    eventually("the pod to be gone", lambda: not pod_of(namespace, launch))


def suspend(namespace: str, launch: Launch, suspended: bool) -> None:
    patch = json.dumps({"spec": {"suspend": suspended}})
    on(namespace, "patch", "job", launch.id.name, "--patch", patch)


def test_a_job_that_is_suspended_by_hand_is_held_back_until_it_is_let_go(namespace: str, launch: Launch) -> None:
    launch.begins("wait").comes_to(RUNNING)
    suspend(namespace, launch, True)
    assert launch.tells("SUSPENDED").suspended
    eventually("the pod to be gone", lambda: not pod_of(namespace, launch))
    assert launch.seen().suspended
    suspend(namespace, launch, False)
    # A Job that has failed by its trainer's exit is over now; one that has not makes a pod, which finds its run ended.
    found = eventually("it to go on", lambda: (now := launch.seen()).state in (EXITED, RUNNING) and now)
    assert found.exit_code in (v1.EXIT_CODE_PREEMPTED, None)


def test_a_job_that_is_suspended_before_it_runs_begins_when_it_is_let_go(namespace: str, launch: Launch) -> None:
    launch.begins("wait", "nowhere").tells("UNSCHEDULABLE")
    suspend(namespace, launch, True)
    eventually("the pod to be gone", lambda: not pod_of(namespace, launch))
    assert launch.tells("SUSPENDED").suspended
    suspend(namespace, launch, False)
    launch.tells("UNSCHEDULABLE", 30)
