"""The chart on a real cluster: what it renders is taken, what it installs trains, and what it removes is gone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.chart.rendering import CHART, CI, Object, changed, rendered, values_of
from tests.cluster.installed import Installed, eventually
from tests.cluster.released import RELEASE, Released, custom_resources, released
from tests.cluster.training import draw_pictures, finished, job_id, job_spec, trains, wait_for

pytestmark = pytest.mark.disturbing
"""One release at a time has the address."""

OPERATORS = {
    "servicemonitors": ("monitoring.coreos.com/v1", "ServiceMonitor"),
    "podmonitors": ("monitoring.coreos.com/v1", "PodMonitor"),
    "prometheusrules": ("monitoring.coreos.com/v1", "PrometheusRule"),
    "certificates": ("cert-manager.io/v1", "Certificate"),
}


@pytest.fixture(scope="module", autouse=True)
def _kinds_of_operators(installed: Installed) -> Iterator[None]:
    with custom_resources(installed, OPERATORS):
        yield


@pytest.mark.parametrize("name", CI)
def test_the_api_server_takes_every_object_of_every_example(installed: Installed, name: str) -> None:
    """Strictly: no unknown field, no doubled one. Pods are held to the restricted level."""
    objects = rendered(values_of(name))
    # Both namespaces exist on this cluster, of the installed service; what would be made there is only tried.
    namespaces = {each["metadata"].get("namespace") for each in objects} - {None, "loramill", "loramill-jobs"}
    for namespace in namespaces:
        installed.kubectl("create", "namespace", namespace)
    try:
        for each in objects:
            told = installed.kubectl(
                "create",
                "--dry-run=server",
                "--validate=strict",
                "-o",
                "name",
                "-f",
                "-",
                text=json.dumps(renamed(each)),
            )
            assert told.strip()
    finally:
        for namespace in namespaces:
            installed.kubectl("delete", "namespace", namespace)


def renamed(found: Object) -> Object:
    """Under a name that nothing on the cluster has yet, and without a fixed address."""
    metadata = found["metadata"] | {"name": f"{found['metadata']['name']}-x"}
    if found["kind"] == "Pod":  # its own account is not there
        return found | {"metadata": metadata, "spec": found["spec"] | {"serviceAccountName": "default"}}
    return found | {"metadata": metadata}


def census(installed: Installed, namespace: str) -> set[str]:
    kinds = (
        "deployments,pods,services,configmaps,secrets,serviceaccounts,roles,rolebindings,leases,networkpolicies,"
        "poddisruptionbudgets,jobs,servicemonitors,podmonitors,prometheusrules"
    )
    cluster = installed.kubectl("get", "clusterroles,clusterrolebindings,namespaces", "-o", "name").split()
    return {*installed.kubectl("-n", namespace, "get", kinds, "-o", "name").split(), *cluster}


@pytest.fixture
def production() -> Object:
    """What the example for production has and this cluster can: replicas, TLS with client certificates, monitoring."""
    example = values_of("production")
    return {
        "replicas": 3,
        "tls": {"existingSecret": "certificate", "clients": {"existingSecret": "client-authorities"}},
        "monitoring": example["monitoring"],
        "topologySpread": [{"topologyKey": "kubernetes.io/hostname"}],
    }


@pytest.mark.parametrize("kind", ["minimal", "production"])
def test_it_installs_trains_and_is_removed_without_a_trace(
    installed: Installed, tmp_path: Path, production: Object, kind: str
) -> None:
    changes = production if kind == "production" else {}
    with released(installed, tmp_path, **changes) as release:
        test = release.helm.test(RELEASE, timeout=300, logs=True)
        assert "submitted trainingJobs/" in str(test["logs"]), test
        assert not release.objects("pods") or eventually("the trainer to go", lambda: not release.objects("pods"))
        before = census(installed, release.namespace)
        release.helm.uninstall(RELEASE, wait="watcher", timeout=240)
        of_the_release = {name for name in before if RELEASE in name or "helm" in name}
        left = census(installed, release.namespace)
        assert not {name for name in left if RELEASE in name or "helm" in name}
        assert "lease.coordination.k8s.io/loramill-admission" not in left
        assert len(of_the_release) > 10
        jobs_namespace = f"namespace/{release.jobs_namespace}"
        eventually("the trainers' namespace to go", lambda: jobs_namespace not in census(installed, release.namespace))


def older(folder: Path) -> Path:
    """The chart under the version before, as its releases know it."""
    chart = folder / "older" / "loramill"
    shutil.copytree(CHART, chart)
    described = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump(described | {"version": "0.0.9"}))
    return chart


def test_an_upgrade_and_the_way_back_leave_running_jobs_alone(installed: Installed, tmp_path: Path) -> None:
    with released(installed, tmp_path, older(tmp_path)) as release, release.client() as client:
        folder = tmp_path / "pictures"
        folder.mkdir()
        dataset = client.upload_dataset(draw_pictures(folder)).name
        job = client.create_job(job_spec(dataset, steps=150, checkpoint_every=1000))
        wait_for(client, job.name, trains)
        with replicas_replaced(release):
            release.upgrade(CHART, changed(release.values, operator__jobs_at_once=7))
        with replicas_replaced(release):
            release.rollback()
        ended = finished(client, job.name, 300)
        assert len(ended.launches) == 1, "the upgrade disturbed the trainer"
        assert ended.adapters, ended.state_message
        assert len(release.objects("jobs", job_id(job))) <= 1


@contextmanager
def replicas_replaced(release: Released) -> Iterator[None]:
    """All of them, by others."""
    before = {pod["metadata"]["uid"] for pod in service_pods(release)}
    yield
    gone = "the replicas before to be gone"
    eventually(gone, lambda: not before & {pod["metadata"]["uid"] for pod in service_pods(release)})


def service_pods(release: Released) -> list[Object]:
    pods = release.installed.objects("pods", namespace=release.namespace)
    return [pod for pod in pods if pod["metadata"]["labels"].get("app.kubernetes.io/component") == "service"]


def test_no_right_is_missing_in_the_course_of_a_job(installed: Installed, tmp_path: Path) -> None:
    with released(installed, tmp_path) as release, release.client() as client:
        folder = tmp_path / "pictures"
        folder.mkdir()
        job = client.create_job(job_spec(client.upload_dataset(draw_pictures(folder)).name))
        assert finished(client, job.name).adapters
        for pod in service_pods(release):
            log = installed.kubectl("-n", release.namespace, "logs", pod["metadata"]["name"])
            assert "forbidden" not in log.lower()
