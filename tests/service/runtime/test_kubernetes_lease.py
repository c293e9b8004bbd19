"""Of several replicas one admits jobs; another takes over when it falls silent, by whatever clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from service.kubernetes_api import LEASES, KubernetesApi
from service.kubernetes_errors import Unavailable
from service.kubernetes_lease import KubernetesLease
from tests.service.runtime.fake_cluster import BROKEN, NAMESPACE, FakeCluster, Lost


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Replica:
    """A replica whose clock and whose attempts are the test's. Each clock begins at a time of its own."""

    def __init__(self, api: KubernetesApi, name: str, began: float) -> None:
        self.clock = Clock(began)
        self.lease = KubernetesLease(api, NAMESPACE, "admission", name, clock=self.clock)
        self.lease._thread = object()  # type: ignore[assignment]  # no thread: attempts are made by the test

    def after(self, seconds: float) -> Replica:
        self.clock.now += seconds
        return self

    def strives(self) -> bool:
        self.lease.strive_once()
        return self.lease.held()


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def api(cluster: FakeCluster, tmp_path: Path) -> Iterator[KubernetesApi]:
    with cluster.serving(tmp_path) as api:
        yield api


@pytest.fixture
def replicas(api: KubernetesApi) -> tuple[Replica, Replica]:
    return Replica(api, "one", 1000), Replica(api, "two", 5)


def test_the_first_has_it_and_keeps_it_while_it_renews(replicas: tuple[Replica, Replica]) -> None:
    one, two = replicas
    assert one.strives()
    for _ in range(10):
        assert not two.after(5).strives()
        assert one.after(5).strives()


def test_a_silent_holder_loses_it_by_its_own_clock_before_another_takes_it(replicas: tuple[Replica, Replica]) -> None:
    one, two = replicas
    assert one.strives()
    assert not two.strives()
    assert one.after(9.9).lease.held()
    assert not one.after(0.2).lease.held()
    assert not two.after(14.9).strives()
    assert two.after(0.2).strives()
    assert not one.after(5).strives()


def test_who_comes_late_waits_the_whole_time_whatever_the_lease_says_of_the_time(
    cluster: FakeCluster, replicas: tuple[Replica, Replica]
) -> None:
    one, two = replicas
    assert one.strives()
    cluster.update(LEASES, "admission", lambda lease: lease["spec"].update(renewTime="1999-01-01T00:00:00.000000Z"))
    assert not two.strives()
    assert not two.after(14).strives()
    assert two.after(2).strives()
    assert cluster.all(LEASES)["admission"]["spec"]["leaseTransitions"] == 1


def test_an_api_server_that_is_away_leaves_it_with_the_holder_until_its_time_is_over(
    cluster: FakeCluster, replicas: tuple[Replica, Replica]
) -> None:
    one, _ = replicas
    assert one.strives()
    cluster.faults = lambda _method, _path: BROKEN
    with pytest.raises(Unavailable):
        one.after(5).strives()
    assert one.lease.held()
    assert not one.after(5.1).lease.held()
    cluster.faults = lambda _method, _path: None
    assert one.strives()


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_answer_that_is_lost_never_gives_it_to_two(
    cluster: FakeCluster, replicas: tuple[Replica, Replica], method: str
) -> None:
    one, two = replicas
    if method == "PUT":
        assert one.strives()
    cluster.faults = lambda what, _path: Lost(after=True) if what == method else None
    with pytest.raises(Unavailable):
        one.after(5).strives()
    cluster.faults = lambda _method, _path: None
    assert not two.strives()
    assert one.strives()


def test_two_that_take_it_at_once(cluster: FakeCluster, replicas: tuple[Replica, Replica]) -> None:
    one, two = replicas
    interrupted = []

    def other_first(what: str, _path: str) -> None:
        if what == "POST" and not interrupted:
            interrupted.append(what)
            cluster.put(LEASES, {"metadata": {"name": "admission"}, "spec": {"holderIdentity": "two"}})

    cluster.faults = other_first
    assert not one.strives()
    assert two.strives()


def test_released_it_is_free_at_once_and_striven_for_no_more(api: KubernetesApi, cluster: FakeCluster) -> None:
    quick = timedelta(milliseconds=20)
    one, two = (KubernetesLease(api, NAMESPACE, "admission", name, renewal=quick) for name in ("one", "two"))

    def comes_to_hold(lease: KubernetesLease) -> None:
        end = time.monotonic() + 10
        while not lease.held():
            assert time.monotonic() < end
            time.sleep(0.005)

    comes_to_hold(one)
    assert not two.held()
    one.release()
    assert not one.held()
    comes_to_hold(two)
    two.release()
    assert cluster.all(LEASES)["admission"]["spec"]["holderIdentity"] == ""
    assert not two.held()
