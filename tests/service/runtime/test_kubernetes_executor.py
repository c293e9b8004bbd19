"""The Kubernetes executor against a small API server: every call may fail, be carried out unheard, or find another first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from loramill import v1
from service.compute_classes import ComputeClass, ComputeClasses
from service.executors import Execution, ExecutionState, ExecutorError
from service.executors.cluster_cache import ClusterCache
from service.executors.credential_keeper import CredentialKeeper
from service.executors.kubernetes import KubernetesExecutor
from service.kubernetes_api import JOBS, NODES, PODS, SECRETS, KubernetesApi, Resource
from service.kubernetes_names import LaunchId
from service.pod_settings import PodSettings
from service.times import to_timestamp, utc_now
from service.trainer_credentials import TrainerCredentials
from store.object_store import StoreUnavailable
from tests.service.runtime.fake_cluster import BROKEN, NAMESPACE, TOO_MANY, Answer, FakeCluster, Lost, Object

JOB = "0" * 15 + "j"
LAUNCH = ("local", JOB, 1)
NAME = LaunchId(*LAUNCH).name
URI = "s3://bucket/local/launches/1.json"
POD = PodSettings(namespace=NAMESPACE, image=f"trainer@sha256:{'0' * 64}")
CLASS = ComputeClass(name="cpu", gpus=0, cpu="1", memory="1Gi", ephemeral_storage="1Gi")
CLASSES = ComputeClasses(classes=(CLASS,))
ASSIGNMENT = v1.Assignment(launch=1, compute_class="cpu", create_time=to_timestamp(datetime(2026, 1, 1, tzinfo=UTC)))


class Source:
    """Credentials that tell how often they were issued."""

    lifetime = timedelta(hours=1)
    environment: dict[str, str] = {}  # noqa: RUF012
    service_account = None

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.issued = 0
        self.fails = False

    def issue(self, tenant: str, job: str, number: int, assignment: v1.Assignment) -> TrainerCredentials:
        if self.fails:
            raise StoreUnavailable("the store gives no session")
        assert (tenant, job, number, assignment) == (*LAUNCH, ASSIGNMENT)
        self.issued += 1
        return TrainerCredentials({"config": f"issue {self.issued}".encode()}, self.clock() + self.lifetime)


class Replica:
    """A service's executor and what it is made of."""

    def __init__(self, api: KubernetesApi, clock: Callable[[], datetime] = utc_now) -> None:
        self.source = Source(clock)
        self.cache = ClusterCache(api, NAMESPACE)
        self.keeper = CredentialKeeper(api, self.cache, self.source, POD, lambda _: ASSIGNMENT, clock)
        self.executor = KubernetesExecutor(api, self.cache, self.keeper, POD, CLASSES, clock)
        self.changed: list[tuple[str, str]] = []

    def launch(self) -> None:
        self.executor.launch(*LAUNCH, ASSIGNMENT, URI)

    def observe(self) -> Execution:
        return self.executor.observe(*LAUNCH)

    @contextmanager
    def following(self) -> Iterator[Replica]:
        with self.executor.following(lambda tenant, job: self.changed.append((tenant, job))):
            yield self


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def api(cluster: FakeCluster, tmp_path: Path) -> Iterator[KubernetesApi]:
    with cluster.serving(tmp_path) as api:
        yield api


@pytest.fixture
def replica(api: KubernetesApi) -> Iterator[Replica]:
    with Replica(api).following() as replica:
        yield replica


def until(holds: Callable[[], Any], limit: float = 10.0) -> None:
    end = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < end, f"did not come to hold within {limit} seconds"
        time.sleep(0.005)


def pod_of(cluster: FakeCluster) -> Object:
    (pod,) = cluster.all(PODS).values()
    return pod


def runs(cluster: FakeCluster) -> None:
    """As the kubelet would tell it."""

    def begin(pod: Object) -> None:
        running = {"running": {"startedAt": "2026-11-24T19:41:20Z"}}
        pod["status"] = {"phase": "Running", "containerStatuses": [{"name": "trainer", "state": running}]}

    cluster.update(PODS, pod_of(cluster)["metadata"]["name"], begin)


def exits(cluster: FakeCluster, code: int) -> None:
    def end(pod: Object) -> None:
        terminated = {"terminated": {"exitCode": code, "finishedAt": "2026-11-24T19:41:51Z"}}
        phase = "Failed" if code else "Succeeded"
        pod["status"] = {"phase": phase, "containerStatuses": [{"name": "trainer", "state": terminated}]}

    def fail(job: Object) -> None:
        job["status"] = {"conditions": [{"type": "Failed", "status": "True", "reason": "PodFailurePolicy"}]}

    cluster.update(PODS, pod_of(cluster)["metadata"]["name"], end)
    cluster.update(JOBS, NAME, fail)


def test_a_launch_from_beginning_to_end(cluster: FakeCluster, replica: Replica) -> None:
    assert replica.observe().state is ExecutionState.ABSENT
    replica.launch()
    assert replica.observe().state is ExecutionState.PENDING
    runs(cluster)
    until(lambda: replica.observe().state is ExecutionState.RUNNING)
    exits(cluster, 64)
    until(lambda: replica.observe().exit_code == 64)
    replica.executor.forget(*LAUNCH)
    until(lambda: replica.observe().state is ExecutionState.ABSENT)
    assert cluster.all(JOBS) == cluster.all(PODS) == cluster.all(SECRETS) == {}
    assert {("local", JOB)} == set(replica.changed)


def test_the_secret_is_the_jobs_and_holds_what_was_issued(cluster: FakeCluster, replica: Replica) -> None:
    replica.launch()
    job, secret = cluster.all(JOBS)[NAME], cluster.all(SECRETS)[NAME]
    assert [owner["uid"] for owner in secret["metadata"]["ownerReferences"]] == [job["metadata"]["uid"]]
    assert secret["stringData"] == {"config": "issue 1"}


def test_a_launch_is_made_once_whoever_asks_and_however_often(cluster: FakeCluster, api: KubernetesApi) -> None:
    with Replica(api).following() as one, Replica(api).following() as two:

        async def all_at_once() -> None:
            await asyncio.gather(*(asyncio.to_thread(replica.launch) for replica in (one, two) * 8))

        asyncio.run(all_at_once())
        assert cluster.pods_started == [NAME]
        until(lambda: one.observe().alive and two.observe().alive)


def test_a_job_of_our_name_that_is_not_this_launch_is_named(cluster: FakeCluster, replica: Replica) -> None:
    replica.launch()
    cluster.update(JOBS, NAME, lambda job: job["metadata"]["annotations"].clear())
    with pytest.raises(ExecutorError, match=f"a Job {NAME} is there in namespace {NAMESPACE} that was not made for"):
        replica.launch()


FAULTS: list[Any] = [
    pytest.param(BROKEN, id="500"),
    pytest.param(Lost(after=False), id="lost-before"),
    pytest.param(Lost(after=True), id="carried-out-unheard"),
]


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "until-the-service-dies"])
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_fails_in_a_launch_one_pod_comes_of_it(tmp_path: Path, fault: Answer | Lost, lasting: bool) -> None:
    """Each call in turn fails, once or for good; then a new service goes on from what it finds."""
    at = 0
    while True:
        at += 1
        cluster = FakeCluster()
        with cluster.serving(tmp_path) as api, Replica(api).following() as first:
            seen = len(cluster.calls)

            def faulty(_method: str, path: str, cluster: FakeCluster = cluster, seen: int = seen, at: int = at) -> Any:
                number = len([call for call in cluster.calls[seen:] if "watch" not in call])
                due = number >= at if lasting else number == at
                return fault if due and "watch" not in path else None

            cluster.faults = faulty
            try:
                first.launch()
                survived = True
            except ExecutorError:
                survived = False
            calls = len([call for call in cluster.calls[seen:] if "watch" not in call])
            cluster.faults = lambda _method, _path: None
            with Replica(api, lambda: utc_now() + timedelta(minutes=1)).following() as second:
                if not second.observe().alive:  # as the reconciler does it
                    second.launch()
                second.keeper.look()
                until(lambda second=second: second.observe().alive)  # type: ignore[misc]
            assert cluster.pods_started == [NAME], f"call {at} failed"
            job, secret = cluster.all(JOBS)[NAME], cluster.all(SECRETS)[NAME]
            owners = [owner["uid"] for owner in secret["metadata"]["ownerReferences"]]
            assert owners == [job["metadata"]["uid"]], f"call {at} failed"
        if survived and calls < at:
            break
    assert at > 2


def test_a_job_whose_service_died_before_the_secret_gets_it(cluster: FakeCluster, api: KubernetesApi) -> None:
    cluster.faults = lambda method, path: BROKEN if (method, path.endswith("secrets")) == ("POST", True) else None
    with Replica(api).following() as first, pytest.raises(ExecutorError):
        first.launch()
    cluster.faults = lambda _method, _path: None
    later = lambda: utc_now() + timedelta(seconds=6)  # noqa: E731
    with Replica(api, later).following() as second:
        second.keeper.look()
        assert cluster.all(SECRETS)[NAME]["stringData"] == {"config": "issue 1"}
        until(lambda: second.cache.secret(LaunchId(*LAUNCH)) is not None)
        second.keeper.look()
        assert second.source.issued == 1


def test_a_secret_that_a_deleted_job_left_behind_becomes_the_new_jobs(cluster: FakeCluster, replica: Replica) -> None:
    left = {
        "metadata": {"name": NAME, "uid": "x", "ownerReferences": [{"uid": "gone"}]},
        "stringData": {"config": "old"},
    }
    cluster.put(SECRETS, left)
    replica.launch()
    secret = cluster.all(SECRETS)[NAME]
    assert secret["stringData"] == {"config": "issue 1"}
    assert secret["metadata"]["ownerReferences"][0]["uid"] == cluster.all(JOBS)[NAME]["metadata"]["uid"]


def test_credentials_are_renewed_when_a_third_of_their_life_is_left(cluster: FakeCluster, api: KubernetesApi) -> None:
    now = [utc_now()]
    with Replica(api, lambda: now[0]).following() as replica:
        replica.launch()
        until(lambda: replica.cache.secret(LaunchId(*LAUNCH)))
        began = now[0]
        for minutes, issued in ((39, 1), (41, 2), (80, 2), (82, 3)):
            now[0] = began + timedelta(minutes=minutes)
            version = cluster.all(SECRETS)[NAME]["metadata"]["resourceVersion"]

            def is_known(version: str = version) -> bool:
                secret = replica.cache.secret(LaunchId(*LAUNCH))
                return secret is not None and int(secret["metadata"]["resourceVersion"]) >= int(version)

            until(is_known)
            replica.keeper.look()
            assert replica.source.issued == issued, minutes
        exits(cluster, 0)
        until(lambda: not replica.cache.living())
        now[0] += timedelta(days=9)
        replica.keeper.look()
        assert replica.source.issued == 3


@pytest.mark.parametrize(
    ("answer", "reason", "says"),
    [
        (Answer(403, "Forbidden", "exceeded quota: jobs, requested: count/jobs.batch=1"), "QUOTA", "count/jobs.batch"),
        (Answer(403, "Forbidden", "service account may not create jobs"), "STARTING", "may not create jobs."),
        (Answer(422, "Invalid", "spec.x: unknown"), "STARTING", "spec.x: unknown."),
        (BROKEN, "STARTING", "is tried again"),
    ],
)
def test_a_launch_that_is_refused_tells_why_until_it_is_taken(
    cluster: FakeCluster, replica: Replica, answer: Answer, reason: str, says: str
) -> None:
    cluster.faults = lambda method, _path: answer if method == "POST" else None
    with pytest.raises(ExecutorError, match=f"Launch 1 of {JOB} could not be begun: .*{answer.message}"):
        replica.launch()
    found = replica.observe()
    assert v1.StateReason.Name(found.reason) == f"STATE_REASON_{reason}"
    assert says in found.message
    assert not found.alive
    cluster.faults = lambda _method, _path: None
    replica.launch()
    assert replica.observe().alive


def test_nothing_is_launched_without_credentials(cluster: FakeCluster, replica: Replica) -> None:
    replica.source.fails = True
    with pytest.raises(ExecutorError, match="the store gives no session"):
        replica.launch()
    assert cluster.all(JOBS) == {}


def test_a_compute_class_that_is_gone_is_named(cluster: FakeCluster, replica: Replica) -> None:
    with pytest.raises(ExecutorError, match=r"the compute class 'big' is not configured any more; .* one of cpu"):
        replica.executor.launch(*LAUNCH, v1.Assignment(compute_class="big"), URI)
    assert "'big'" in replica.observe().message
    assert cluster.all(JOBS) == {}


def test_to_stop_deletes_the_job_with_its_pod_and_waits_for_neither(api: KubernetesApi, cluster: FakeCluster) -> None:
    cluster.controls_jobs = False  # what is deleted stays until it is told to go
    with Replica(api).following() as replica:
        replica.executor.stop(*LAUNCH)
        replica.launch()
        cluster.start_pod(NAME)
        until(lambda: replica.cache.sighting(LaunchId(*LAUNCH)).pods)
        replica.executor.stop(*LAUNCH)
        replica.executor.stop(*LAUNCH)
        assert sum(call.startswith("DELETE") for call in cluster.calls) == 1
        assert replica.observe().alive
        with pytest.raises(ExecutorError, match="still works; stop it"):
            replica.executor.forget(*LAUNCH)
        cluster.remove(JOBS, NAME)
        until(lambda: replica.observe().state is ExecutionState.ABSENT)


def test_a_pod_whose_job_was_deleted_by_hand_lives_and_is_stopped_by_itself(
    cluster: FakeCluster, replica: Replica
) -> None:
    replica.launch()
    pod = pod_of(cluster)
    cluster.update(PODS, pod["metadata"]["name"], lambda found: found["metadata"].pop("ownerReferences"))
    cluster.remove(JOBS, NAME)
    until(lambda: replica.cache.job(LaunchId(*LAUNCH)) is None)
    assert replica.observe().alive
    replica.executor.stop(*LAUNCH)
    until(lambda: replica.observe().state is ExecutionState.ABSENT)
    assert cluster.all(PODS) == {}


def test_a_suspended_job_is_stopped_too(cluster: FakeCluster, replica: Replica) -> None:
    replica.launch()
    exits(cluster, 68)
    cluster.update(JOBS, NAME, lambda job: job["spec"].update(suspend=True))
    until(lambda: replica.observe().suspended)
    replica.executor.stop(*LAUNCH)
    until(lambda: replica.observe().state is ExecutionState.ABSENT)


@pytest.mark.parametrize(
    ("node", "lost"),
    [
        ({"conditions": [{"type": "Ready", "status": "True"}]}, False),
        ({"conditions": [{"type": "Ready", "status": "Unknown"}]}, True),
        (None, True),
        (Answer(403, "Forbidden", "may not get nodes"), False),
    ],
)
def test_a_pod_that_does_not_go_is_given_up_with_its_node(
    cluster: FakeCluster, replica: Replica, node: Object | Answer | None, lost: bool
) -> None:
    replica.launch()
    runs(cluster)
    if isinstance(node, Answer):
        cluster.faults = lambda _method, path: node if "/nodes/" in path else None
    elif node is not None:
        cluster.put(NODES, {"metadata": {"name": "node1", "uid": "n"}, "status": node}, "")
    ordered = (utc_now() - timedelta(minutes=1)).isoformat()
    cluster.update(
        PODS, pod_of(cluster)["metadata"]["name"], lambda pod: pod["metadata"].update(deletionTimestamp=ordered)
    )
    until(
        lambda: any(pod["metadata"].get("deletionTimestamp") for pod in replica.cache.sighting(LaunchId(*LAUNCH)).pods)
    )
    found = replica.observe()
    assert (found.reason == v1.STATE_REASON_NODE_LOST) == lost
    assert found.alive == (not lost)


# -- what is known of the cluster ------------------------------------------------------------------------------------------


def test_what_another_replica_does_is_known_at_once_though_no_watch_tells_of_it(
    cluster: FakeCluster, api: KubernetesApi
) -> None:
    with Replica(api).following() as one, Replica(api).following() as deaf:
        cluster.garble = lambda _lines: []
        one.launch()
        assert deaf.observe().alive
        assert one.observe().alive
        exits(cluster, 64)
        assert deaf.observe().alive  # it lags, and never shows less than there is


@pytest.mark.parametrize("trouble", ["410", "dropped", "doubled", "reordered", "429", "500"])
def test_a_watch_in_trouble_loses_nothing(cluster: FakeCluster, replica: Replica, trouble: str) -> None:
    cluster.garble = lambda lines: {"doubled": lines * 2, "reordered": lines[::-1]}.get(trouble, lines)
    refusal = {"429": TOO_MANY, "500": BROKEN}.get(trouble)
    replica.launch()
    for step in (runs, lambda cluster: exits(cluster, 64)):
        refusals = iter([refusal] * 4)
        with cluster.lock:  # all that happens in here is told at once
            if trouble in ("410", "dropped") or refusal is not None:
                cluster.drop_watches()
            step(cluster)
            if trouble == "410":
                cluster.forget_history()
            cluster.faults = lambda _method, _path, refusals=refusals: next(refusals, None)  # type: ignore[misc]
    until(lambda: replica.observe().exit_code == 64, 30)
    cluster.remove(JOBS, NAME)
    until(lambda: replica.observe().state is ExecutionState.ABSENT, 30)


def test_while_the_api_server_is_away_nobody_says_what_runs(
    cluster: FakeCluster, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.executors.cluster_cache._SILENCE_S", 0.05)
    replica.launch()
    cluster.faults = lambda _method, _path: BROKEN
    cluster.drop_watches()

    def is_silent() -> bool:
        try:
            replica.observe()
        except ExecutorError as error:
            return "has not been heard of" in str(error)
        return False

    until(is_silent)
    cluster.faults = lambda _method, _path: None
    until(lambda: not is_silent() and replica.observe().alive, 30)


def test_looks_at_what_is_known_ask_nothing(cluster: FakeCluster, replica: Replica) -> None:
    replica.launch()
    runs(cluster)
    until(lambda: replica.observe().state is ExecutionState.RUNNING)
    asked = len(cluster.calls)
    for _ in range(50):
        replica.observe()
    assert len(cluster.calls) == asked


# -- logs ------------------------------------------------------------------------------------------------------------------


def test_the_log_is_read_live_and_is_none_where_it_cannot_be_had(cluster: FakeCluster, replica: Replica) -> None:
    read: Callable[[int], bytes | None] = lambda offset: replica.executor.read_log(*LAUNCH, offset)  # noqa: E731
    assert read(0) is None
    replica.launch()
    until(lambda: replica.cache.sighting(LaunchId(*LAUNCH)).pods)
    assert read(0) == b""
    cluster.logs[pod_of(cluster)["metadata"]["name"]] = b"one\ntwo\n"
    assert read(0) == b"one\ntwo\n"
    assert read(4) == b"two\n"
    cluster.faults = lambda _method, path: BROKEN if path.endswith("/log") else None
    assert read(0) is None
    cluster.remove(PODS, pod_of(cluster)["metadata"]["name"])
    until(lambda: read(0) is None)


def test_resources_are_named_by_their_paths() -> None:
    assert Resource("v1", "nodes").path("", "a") == "/api/v1/nodes/a"
    assert JOBS.path("x") == "/apis/batch/v1/namespaces/x/jobs"
