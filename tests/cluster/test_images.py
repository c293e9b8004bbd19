"""The images run as the restricted level wants it: any user, nothing written but in /tmp, no capabilities."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from tests.cluster.api_server import RESTRICTED, api_server
from tests.cluster.installed import Installed, Object, eventually

IMPORT_ALL = """
import importlib, pkgutil
for package in {packages}:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if not module.name.endswith("__main__") and module.name not in {left_out}:
            importlib.import_module(module.name)
            print(module.name)
"""
FOUND = "from importlib.util import find_spec; print([name for name in {names} if find_spec(name)])"


@dataclass(frozen=True)
class Ended:
    """What a pod left behind."""

    exit_code: int
    output: str


class Pods:
    """Runs a container of an image, in a namespace of the restricted level."""

    def __init__(self, installed: Installed, namespace: str) -> None:
        self._images = installed.description["images"]
        self._kubectl = partial(installed.kubectl, "-n", namespace)
        self._names = (f"pod-{number}" for number in itertools.count())

    def run(self, target: str, **container: list[str]) -> Ended:
        name = next(self._names)
        self._kubectl("apply", "-f", "-", text=json.dumps(_pod(name, self._images[target], container)))
        state = eventually(f"the end of {container} in {target}", lambda: self._terminated(name), seconds=240)
        return Ended(state["exitCode"], self._kubectl("logs", name))

    def _terminated(self, name: str) -> Object | None:
        """How its container ended, or None while it has not."""
        statuses = json.loads(self._kubectl("get", "pod", name, "-o", "json"))["status"].get("containerStatuses", [])
        found: Object | None = next((status["state"].get("terminated") for status in statuses), None)
        return found


def _pod(name: str, image: str, container: dict[str, list[str]]) -> Object:
    security = {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    image_and_limits = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "securityContext": security,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [image_and_limits | container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


@pytest.fixture(scope="module")
def pods() -> Iterator[Pods]:
    with api_server().namespace(RESTRICTED) as namespace:
        yield Pods(Installed(), namespace)


def test_the_entry_points_answer(pods: Pods) -> None:
    service, trainer = pods.run("service", args=["--help"]), pods.run("trainer", args=["--help"])
    assert (service.exit_code, trainer.exit_code) == (0, 0)
    assert "python -m service" in service.output
    assert "python -m trainer" in trainer.output


@pytest.mark.parametrize(
    ("target", "left_out"),
    [("service", ()), ("trainer", ("store.s3_quick",))],  # obstore pays for whoever sends many small requests
)
def test_every_module_of_an_image_finds_what_it_imports(pods: Pods, target: str, left_out: tuple[str, ...]) -> None:
    pod = pods.run(target, command=["python", "-c", IMPORT_ALL.format(packages=("store", target), left_out=left_out)])
    assert pod.exit_code == 0, pod.output
    assert f"{target}.settings" in pod.output


@pytest.mark.parametrize(
    ("target", "absent"),
    [("service", ("torch", "diffusers", "pip", "uv")), ("trainer", ("grpc", "kubernetes", "service", "pip", "uv"))],
)
def test_an_image_has_nothing_that_it_does_not_need(pods: Pods, target: str, absent: tuple[str, ...]) -> None:
    assert pods.run(target, command=["python", "-c", FOUND.format(names=absent)]).output.strip() == "[]"


def test_the_service_has_the_base_model_that_comes_with_loramill(pods: Pods) -> None:
    program = "from service.settings import Settings; print(*Settings.model_fields['builtin_shapes'].default.iterdir())"
    assert "model_index.json" in pods.run("service", command=["python", "-c", program]).output
