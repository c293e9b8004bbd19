"""Base models on the nodes, brought there by the manifests that operators install."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from loramill.client import Client
from service.pod_manifest import BASES_FOLDER
from tests.cluster.installed import JOBS_NAMESPACE, SERVICE_NAMESPACE, Installed, Object, eventually

MANIFESTS = Path("deploy/base-models")
URI = "_shared/bases/shapes/files/"

LOOK = """
import sys
from pathlib import Path
from google.protobuf.json_format import Parse
from loramill import v1
from trainer.base_files import MANIFEST, problem_of
bases, digest = Path(sys.argv[1]), sys.argv[2]
manifest = Parse((bases / digest / MANIFEST).read_text(), v1.FileManifest())
problems = [problem_of(bases, digest, file) for file in manifest.files]
assert problems and not any(problems), problems
try:
    (bases / "mine").touch()
except OSError as error:
    print("right and read-only:", error.strerror)
"""
"""What a pod finds in the folder that a trainer would be given."""


@pytest.fixture(scope="module")
def trainer_image(installed: Installed) -> str:
    """The one that the installed service launches."""
    deployment = json.loads(installed.kubectl("-n", SERVICE_NAMESPACE, "get", "deployment", "loramill", "-o", "json"))
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    [name] = (volume["configMap"]["name"] for volume in volumes if volume["name"] == "operator")
    config = json.loads(installed.kubectl("-n", SERVICE_NAMESPACE, "get", "configmap", name, "-o", "json"))
    image: str = yaml.safe_load(config["data"]["operator.yaml"])["trainers"]["image"]
    return image


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of this machine, which is every node."""
    path = Path(f"/var/lib/loramill-test-{uuid.uuid4().hex[:8]}")
    yield path
    shutil.rmtree(path, ignore_errors=True)


def rendered(installed: Installed, which: str, image: str, folder: Path) -> list[Object]:
    """The objects of a kustomization as an operator's overlay changes them."""
    text = installed.kubectl("kustomize", str(MANIFESTS / which))
    bucket = installed.description["service"]["bucket"]
    for ours, theirs in (
        ("image: loramill-trainer", f"image: {image}"),
        ("/var/lib/loramill/bases", str(folder)),
        ("s3://loramill/_shared", f"s3://{bucket}/_shared"),
    ):
        text = text.replace(ours, theirs)
    return list(yaml.safe_load_all(text))


def reader(installed: Installed, namespace: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "loramill-bases-reader", "namespace": namespace},
        "stringData": installed.s3.environment,
    }


def shared_folder(folder: Path) -> Object:
    """A volume for whoever claims one that many nodes write to, as a cluster with such storage would make it."""
    folder.mkdir()
    folder.chmod(0o777)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": folder.name},
        "spec": {
            "capacity": {"storage": "100Gi"},
            "accessModes": ["ReadWriteMany"],
            "claimRef": {"namespace": JOBS_NAMESPACE, "name": "loramill-base-models"},
            "hostPath": {"path": str(folder)},
        },
    }


def pod(image: str, digest: str, node: str) -> Object:
    """A pod of the restricted level that has the folder as a trainer has it."""
    confined = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"looks-{node}", "namespace": JOBS_NAMESPACE},
        "spec": {
            "restartPolicy": "Never",
            "nodeSelector": {"kubernetes.io/hostname": node},
            "automountServiceAccountToken": False,
            "tolerations": [{"operator": "Exists"}],
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "looks",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "-c", LOOK, BASES_FOLDER, digest],
                    "securityContext": confined,
                    "volumeMounts": [{"name": "bases", "mountPath": BASES_FOLDER, "readOnly": True}],
                }
            ],
            "volumes": [
                {"name": "bases", "persistentVolumeClaim": {"claimName": "loramill-base-models", "readOnly": True}}
            ],
        },
    }


@pytest.mark.parametrize("which", ["nodes", "claim"])
def test_a_filled_folder_is_whole_and_read_only_for_a_restricted_pod(
    which: str, installed: Installed, client: Client, trainer_image: str, folder: Path
) -> None:
    digest = client.get_base("shapes").digest
    objects = rendered(installed, which, trainer_image, folder)
    objects += [reader(installed, "loramill-nodes")] if which == "nodes" else []
    objects += [shared_folder(folder), reader(installed, JOBS_NAMESPACE)] if which == "claim" else []
    nodes = list(installed.description["nodes"])
    looks = [pod(trainer_image, digest, node) for node in nodes]
    everything = yaml.safe_dump_all([*objects, *looks])
    try:
        installed.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(objects))
        if which == "nodes":
            rollout = ("rollout", "status", "daemonset/loramill-base-models", "--timeout=100s")
            installed.kubectl("-n", "loramill-nodes", *rollout)
        else:
            done = ("wait", "--for=condition=complete", "job/loramill-base-models", "--timeout=100s")
            installed.kubectl("-n", JOBS_NAMESPACE, *done)
        installed.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(looks))
        for look in looks:
            name = look["metadata"]["name"]
            said = eventually(f"{name} to say what it sees", lambda name=name: ended_log(installed, name))
            assert said == "right and read-only: Read-only file system\n"
    finally:
        installed.kubectl("delete", "--ignore-not-found", "-f", "-", text=everything)


def ended_log(installed: Installed, name: str) -> str:
    """What a pod wrote, once it has ended; empty before."""
    found = json.loads(installed.kubectl("-n", JOBS_NAMESPACE, "get", "pod", name, "-o", "json"))
    if found["status"]["phase"] not in ("Succeeded", "Failed"):
        return ""
    return installed.kubectl("-n", JOBS_NAMESPACE, "logs", name) or "nothing"
