"""One module's talk with an API server: what is asked again and how often, and what each refusal becomes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.executors.cluster_objects import KeptPod
from service.kubernetes_api import JOBS, LEASES, ONCE, PODS, KubernetesApi, Patience, api_at
from service.kubernetes_errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Gone,
    KubernetesError,
    NotFound,
    Refused,
    TooManyRequests,
    Unavailable,
    error_of,
)
from tests.service.runtime.fake_cluster import BROKEN, NAMESPACE, TOO_MANY, Answer, FakeCluster, Lost, Object


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(controls_jobs=False)


@pytest.fixture
def api(cluster: FakeCluster, tmp_path: Path) -> Iterator[KubernetesApi]:
    with cluster.serving(tmp_path) as api:
        yield api


def pod(name: str = "a", **labels: str) -> Object:
    return {"kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": {}}


def test_an_object_is_made_read_changed_and_deleted(api: KubernetesApi, cluster: FakeCluster) -> None:
    made = api.create(PODS, NAMESPACE, pod())
    assert api.get(PODS, NAMESPACE, "a") == made
    patched = api.patch(PODS, NAMESPACE, "a", {"metadata": {"labels": {"x": "y"}}})
    assert patched["metadata"]["labels"] == {"x": "y"}
    with pytest.raises(Conflict):
        api.replace(PODS, NAMESPACE, made)
    with pytest.raises(Conflict):
        api.delete(PODS, NAMESPACE, "a", "another-uid")
    api.delete(PODS, NAMESPACE, "a", made["metadata"]["uid"], at_once=True)
    with pytest.raises(NotFound, match='GET /api/v1/namespaces/trainers/pods/a: "a" not found'):
        api.get(PODS, NAMESPACE, "a")
    assert cluster.all(PODS) == {}


def test_lists_are_read_page_by_page(api: KubernetesApi, cluster: FakeCluster) -> None:
    for number in range(1203):
        cluster.put(PODS, {"metadata": {"name": f"{number:04d}", "labels": {"half": str(number % 2)}}})
    assert len(api.list(PODS, NAMESPACE).items) == 1203
    assert len(api.list(PODS, NAMESPACE, "half=1").items) == 601
    assert sum(call.startswith("GET") for call in cluster.calls) == 3 + 2


def test_lists_and_watches_tell_no_more_than_is_kept(api: KubernetesApi, cluster: FakeCluster) -> None:
    """And the same of an object, so that a list after a watch shows no change where there is none."""
    listing = api.list(PODS, NAMESPACE, kept=KeptPod)
    whole = pod() | {"spec": {"nodeName": "n", "schedulerName": "s", "containers": [{"image": "i", "name": "trainer"}]}}
    whole["metadata"]["managedFields"] = [{"manager": "m"}]
    cluster.put(PODS, whole)
    told = next(iter(api.watch(PODS, NAMESPACE, listing.version, kept=KeptPod))).object
    assert [told] == api.list(PODS, NAMESPACE, kept=KeptPod).items
    assert told["spec"] == {"nodeName": "n", "containers": [{"image": "i"}]}
    assert set(told["metadata"]) == {"name", "labels", "resourceVersion"}
    assert "managedFields" in api.list(PODS, NAMESPACE).items[0]["metadata"]


def test_a_watch_takes_bookmarks_as_the_api_server_makes_them(api: KubernetesApi, cluster: FakeCluster) -> None:
    """Of an empty pod, whose list of containers is null."""
    bookmark = (
        b'{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"107"},'
        b'"spec":{"containers":null},"status":{}}}\n'
    )
    cluster.garble = lambda lines: [bookmark, *lines] if lines else []
    listing = api.list(PODS, NAMESPACE, kept=KeptPod)
    cluster.put(PODS, pod())
    told = iter(api.watch(PODS, NAMESPACE, listing.version, kept=KeptPod))
    assert [(change.kind, change.object["metadata"]["resourceVersion"]) for change in (next(told), next(told))] == [
        ("BOOKMARK", "107"),
        ("ADDED", str(cluster.version)),
    ]


@pytest.mark.parametrize("fault", [TOO_MANY, BROKEN, Lost(after=False), Lost(after=True)])
def test_what_fails_once_is_asked_again(api: KubernetesApi, cluster: FakeCluster, fault: Answer | Lost) -> None:
    cluster.put(PODS, pod())
    cluster.faults = lambda _method, _path: fault if len(cluster.calls) == 1 else None
    began = time.monotonic()
    assert api.get(PODS, NAMESPACE, "a")["metadata"]["name"] == "a"
    waited = time.monotonic() - began
    assert len(cluster.calls) == 2
    assert (waited >= 1) == (fault is TOO_MANY)


def test_what_was_made_by_an_unanswered_attempt_is_said_to_be_there(api: KubernetesApi, cluster: FakeCluster) -> None:
    cluster.faults = lambda method, _path: Lost(after=True) if method == "POST" else None
    with pytest.raises(AlreadyExists):
        api.create(PODS, NAMESPACE, pod())
    assert list(cluster.all(PODS)) == ["a"]


def test_one_attempt_where_one_is_asked_for(api: KubernetesApi, cluster: FakeCluster) -> None:
    cluster.faults = lambda _method, _path: BROKEN
    with pytest.raises(Unavailable, match="etcd is away"):
        api.get(LEASES, NAMESPACE, "a", ONCE)
    assert len(cluster.calls) == 1


def test_a_wait_that_is_longer_than_our_patience_is_left_to_the_caller(
    api: KubernetesApi, cluster: FakeCluster
) -> None:
    cluster.faults = lambda _method, _path: Answer(429, "TooManyRequests", retry_after=30)
    with pytest.raises(TooManyRequests) as error:
        api.get(PODS, NAMESPACE, "a")
    assert error.value.retry_after == 30
    assert len(cluster.calls) == 1


def test_a_storm_of_refusals_is_not_made_worse(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.faults = lambda _method, _path: BROKEN
    with cluster.serving(tmp_path, Patience(first_wait=0.001)) as api:
        for _ in range(100):
            with pytest.raises(Unavailable):
                api.get(PODS, NAMESPACE, "a")
    assert len(cluster.calls) <= 100 + 20 + 100 * 0.2


def test_a_watch_tells_what_happens_after_a_version(api: KubernetesApi, cluster: FakeCluster) -> None:
    listing = api.list(PODS, NAMESPACE)
    api.create(PODS, NAMESPACE, pod("a", ours="yes"))
    api.create(PODS, NAMESPACE, pod("b"))
    watch = api.watch(PODS, NAMESPACE, listing.version, "ours=yes")
    changes = iter(watch)
    assert next(changes).object["metadata"]["name"] == "a"
    cluster.update(PODS, "a", lambda found: found["metadata"].update(note="x"))
    assert next(changes).kind == "MODIFIED"
    threading.Timer(0.05, watch.close).start()
    with pytest.raises((StopIteration, Unavailable)):
        next(changes)


def test_a_watch_of_what_is_no_longer_kept_says_so(api: KubernetesApi, cluster: FakeCluster) -> None:
    cluster.version += 10
    cluster.forget_history()
    with pytest.raises(Gone):
        list(api.watch(PODS, NAMESPACE, "50"))


def test_a_log_is_read_from_any_place(api: KubernetesApi, cluster: FakeCluster) -> None:
    with pytest.raises(Refused, match="waiting to start"):
        api.read_log(NAMESPACE, "a", "trainer", 0, 100)
    cluster.logs["a"] = b"0123456789"
    assert api.read_log(NAMESPACE, "a", "trainer", 0, 4) == b"0123"
    assert api.read_log(NAMESPACE, "a", "trainer", 4, 100) == b"456789"
    assert api.read_log(NAMESPACE, "a", "trainer", 10, 100) == b""
    assert api.read_log(NAMESPACE, "a", "trainer", 99, 100) == b""


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"message": "bad"}', Refused),
        (401, b"Unauthorized", Forbidden),
        (403, b'{"message": "exceeded quota: pods", "reason": "Forbidden"}', Forbidden),
        (404, b'{"reason": "NotFound"}', NotFound),
        (409, b'{"reason": "AlreadyExists"}', AlreadyExists),
        (409, b'{"reason": "Conflict"}', Conflict),
        (410, b'{"reason": "Expired"}', Gone),
        (422, b'{"reason": "Invalid"}', Refused),
        (429, b'{"details": {"retryAfterSeconds": 7}}', TooManyRequests),
        (500, b"", Unavailable),
        (503, b"<html>no upstream</html>", Unavailable),
        (504, b"[1]", Unavailable),
    ],
)
def test_what_an_answer_stands_for(status: int, body: bytes, kind: type[KubernetesError]) -> None:
    error = error_of("GET /x", status, body)
    assert type(error) is kind
    assert str(error).startswith("GET /x: ")
    assert error.retry_after == (7 if status == 429 else None)
    assert not isinstance(error, Forbidden) or error.over_quota == (status == 403)


def test_what_names_no_api_server_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    for path in (tmp_path / "missing", tmp_path / "empty"):
        with pytest.raises(Refused, match=f"{path}: names no API server"):
            api_at(path)


def test_an_api_server_that_is_not_there(tmp_path: Path) -> None:
    cluster = FakeCluster()
    with cluster.serving(tmp_path) as api:
        pass
    with pytest.raises(Unavailable, match="did not answer"):
        api.get(JOBS, NAMESPACE, "a")
