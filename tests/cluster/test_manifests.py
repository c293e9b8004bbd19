"""Every object that we render is one that the real API server takes: no unknown field, no bad value, the restricted level."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from service.manifests import Manifest, render_credentials_secret
from tests.cluster.api_server import RESTRICTED, Answer, ApiServer, Object, api_server
from tests.service.manifests.examples import GOLDEN, Example
from tests.service.manifests.random_examples import random_example

RANDOM_EXAMPLES = 300
OWNER = "7c1ea1a2-5d3c-4a5e-9d57-6d0ad3b3a0c1"
"""A UID."""


@pytest.fixture(scope="module")
def server() -> ApiServer:
    return api_server()


@pytest.fixture(scope="module")
def namespace(server: ApiServer) -> Iterator[str]:
    with server.namespace(RESTRICTED) as name:
        yield name


def moved(manifest: Manifest, namespace: str) -> Manifest:
    manifest = copy.deepcopy(manifest)
    manifest["metadata"]["namespace"] = namespace
    return manifest


def pod_of(job: Manifest) -> Object:
    """The pod that the Job would make: Pod Security and quotas are enforced on pods alone.

    What must exist before a pod may name it is left out.
    """
    template = job["spec"]["template"]
    spec = {
        field: value
        for field, value in template["spec"].items()
        if field not in ("priorityClassName", "runtimeClassName", "serviceAccountName")
    }
    metadata = {"generateName": "pod-", "namespace": job["metadata"]["namespace"], **template["metadata"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def dropped(sent: Any, kept: Any, path: str = "") -> Iterator[str]:
    """What was said and is not there: a feature that is switched off drops its fields in silence."""
    if sent and not kept:
        yield path
    elif isinstance(sent, dict):
        for key, value in sent.items():
            yield from dropped(value, kept.get(key), f"{path}.{key}")
    elif isinstance(sent, list):
        for place, value in enumerate(sent):
            yield from dropped(value, kept[place] if place < len(kept) else None, f"{path}[{place}]")


def check_accepted(server: ApiServer, rendered: Example, namespace: str) -> None:
    job = moved(rendered.job, namespace)
    made = accepted(server.dry_run(f"/apis/batch/v1/namespaces/{namespace}/jobs", job))
    assert list(dropped(job, made)) == []
    accepted(server.dry_run(f"/api/v1/namespaces/{namespace}/pods", pod_of(job)))
    files = {"config": "[default]\n", "credentials.json": "{}"}
    secret = render_credentials_secret(rendered.launch.launch, rendered.pod, files, None, OWNER)
    accepted(server.dry_run(f"/api/v1/namespaces/{namespace}/secrets", moved(secret, namespace)))


def accepted(answer: Answer) -> Object:
    """The object as it would be made."""
    assert 200 <= answer.status < 300, answer
    assert not answer.warnings, answer
    return answer.body


@pytest.mark.parametrize("name", GOLDEN)
def test_every_golden_object_is_accepted(server: ApiServer, namespace: str, name: str) -> None:
    check_accepted(server, GOLDEN[name], namespace)


@pytest.mark.parametrize("seed", range(RANDOM_EXAMPLES))
def test_random_objects_are_accepted(server: ApiServer, namespace: str, seed: int) -> None:
    check_accepted(server, random_example(seed), namespace)


def test_what_breaks_the_rules_is_refused(server: ApiServer, namespace: str) -> None:
    """Else the tests above would show nothing."""
    jobs, pods = f"/apis/batch/v1/namespaces/{namespace}/jobs", f"/api/v1/namespaces/{namespace}/pods"
    job = moved(GOLDEN["cpu"].job, namespace)
    unknown = copy.deepcopy(job)
    unknown["spec"]["retries"] = 3
    assert "unknown field" in server.dry_run(jobs, unknown).message
    privileged = copy.deepcopy(job)
    privileged["spec"]["template"]["spec"]["hostNetwork"] = True
    assert "PodSecurity" in server.dry_run(jobs, privileged).warnings
    assert "PodSecurity" in server.dry_run(pods, pod_of(privileged)).message
