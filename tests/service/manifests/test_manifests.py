"""A launch's Kubernetes objects: what they look like, and what holds for each that can be rendered."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from service import manifests
from service.kubernetes_names import LaunchId, launch_of_labels
from service.manifests import Manifest, assignment_sha256, render_credentials_secret, render_job
from tests.service.manifests.examples import CPU, GOLDEN, GPU, SPOT, Example, example, launch_of
from tests.service.manifests.golden_files import as_yaml, golden_file
from tests.service.manifests.random_examples import random_example

EXAMPLES = 10_000

FREE = (".labels", ".annotations", ".nodeSelector", ".requests", ".limits")
"""Fields whose keys are names, checked as such."""

FIELDS = frozenset((Path(__file__).parent / "fields.txt").read_text().split())
"""Every field that a Job may have: the closed schema."""

SCRAPED = {"prometheus.io/scrape": "true", "prometheus.io/port": "9464"}

LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def fields(value: Any, path: str = "") -> set[str]:
    """The paths of all that is set."""
    found: set[str] = set()
    pending = [(path, value)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, list):
            pending += [(f"{path}[]", entry) for entry in value]
        elif isinstance(value, dict) and not path.endswith(FREE):
            pending += [(f"{path}.{key}" if path else key, entry) for key, entry in value.items()]
        else:
            found.add(path)
    return found


def pod_of(job: Manifest) -> dict[str, Any]:
    return job["spec"]["template"]["spec"]  # type: ignore[no-any-return]


def container_of(job: Manifest) -> dict[str, Any]:
    (container,) = pod_of(job)["containers"]
    return container  # type: ignore[no-any-return]


def environment_of(job: Manifest) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container_of(job)["env"]}


@pytest.mark.parametrize("name", GOLDEN)
def test_jobs_look_as_in_the_golden_files(name: str) -> None:
    assert as_yaml(GOLDEN[name].job) == golden_file(name).read_text(), (
        "if the change is meant: python -m tests.service.manifests.golden_files"
    )


def test_what_holds_for_every_job() -> None:
    for seed in range(EXAMPLES):
        rendered = random_example(seed)
        job = rendered.job
        try:
            assert fields(job) <= FIELDS
            has_no_text_of_users(job)
            is_restricted(job)
            has_valid_names(rendered, job)
        except AssertionError as error:
            raise AssertionError(f"random_example({seed}): {error}") from error


def test_the_same_launch_is_rendered_the_same_way() -> None:
    for seed in range(100):
        assert json.dumps(random_example(seed).job) == json.dumps(random_example(seed).job)


@pytest.mark.parametrize("taint", ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"])
def test_a_pod_is_soon_given_up_with_its_silent_node_unless_the_operator_says_how_long(taint: str) -> None:
    (ours,) = [each for each in pod_of(example(CPU).job)["tolerations"] if each["key"] == taint]
    assert (ours["effect"], ours["tolerationSeconds"]) == ("NoExecute", 60)
    patient = example(CPU | {"tolerations": [{"key": taint, "effect": "NoExecute"}]})
    (theirs,) = [each for each in pod_of(patient.job)["tolerations"] if each["key"] == taint]
    assert theirs == {"key": taint, "operator": "Exists", "effect": "NoExecute"}


def has_no_text_of_users(job: Manifest) -> None:
    text = json.dumps(job, ensure_ascii=False)
    assert "Taint" not in text
    assert "Ünd" not in text


def is_restricted(job: Manifest) -> None:
    """The restricted level of the Pod Security Standards, and what we hold beyond it."""
    pod, container = pod_of(job), container_of(job)
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert container["resources"]["requests"] == container["resources"]["limits"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert volumes.keys() == mounts.keys()
    for name, volume in volumes.items():
        writable = "emptyDir" in volume
        assert mounts[name].get("readOnly", False) is not writable
        assert not writable or volume["emptyDir"]["sizeLimit"]


def has_valid_names(rendered: Example, job: Manifest) -> None:
    metadata = job["metadata"]
    assert DNS_LABEL.fullmatch(metadata["name"])
    assert len(metadata["name"]) <= 57  # with room for the suffix that pods get
    for labels in (metadata["labels"], job["spec"]["template"]["metadata"]["labels"]):
        assert all(LABEL_VALUE.fullmatch(value) for value in labels.values())
        assert launch_of_labels(labels) == rendered.launch.launch


def test_a_launch_is_read_back_from_its_labels() -> None:
    launch = LaunchId("tenant-a", "fzc7n3m0k8s1q4tw", 12)
    assert (launch.name, launch_of_labels(launch.labels)) == ("loramill-fzc7n3m0k8s1q4tw-12", launch)
    assert launch_of_labels(launch.labels | {"other": "label"}) == launch
    for key, value in [
        ("app.kubernetes.io/managed-by", "helm"),
        ("loramill.dev/launch", "0"),
        ("loramill.dev/launch", "01"),
        ("loramill.dev/launch", "x"),
        ("loramill.dev/job", "other"),
        ("loramill.dev/tenant", "Tenant"),
        ("loramill.dev/tenant", "tenant-"),
    ]:
        assert launch_of_labels(launch.labels | {key: value}) is None, (key, value)
        assert launch_of_labels({name: text for name, text in launch.labels.items() if name != key}) is None, key


@pytest.mark.parametrize(("tenant", "job", "number"), [("a_b", "f" * 16, 1), ("a", "F" * 16, 1), ("a", "f" * 16, 0)])
def test_what_names_no_launch_gets_no_name(tenant: str, job: str, number: int) -> None:
    with pytest.raises(ValueError, match="do not name a launch"):
        LaunchId(tenant, job, number)


def test_the_digest_tells_two_launches_of_a_name_apart() -> None:
    launch, later = launch_of(), launch_of()
    assert assignment_sha256(launch) == assignment_sha256(later)
    later.assignment.create_time.nanos = 1
    elsewhere = manifests.TrainerLaunch(launch.launch, launch.assignment, launch.assignment_uri.replace("prefix", "p"))
    assert len({assignment_sha256(each) for each in (launch, later, elsewhere)}) == 3
    launch.assignment.spec.optimization.steps = 5  # a field that another version might not know
    assert assignment_sha256(launch) == assignment_sha256(launch_of())


def test_autoscalers_keep_their_hands_off_nodes_that_are_paid_in_full() -> None:
    keep = "cluster-autoscaler.kubernetes.io/safe-to-evict"
    template = example(GPU).job["spec"]["template"]["metadata"]["annotations"]
    assert template == SCRAPED | {keep: "false", "karpenter.sh/do-not-disrupt": "true"}
    assert example(SPOT).job["spec"]["template"]["metadata"]["annotations"] == SCRAPED


def test_prometheus_finds_what_a_trainer_serves() -> None:
    job = example(GPU).job
    environment = environment_of(job)
    served = (environment["LORAMILL_TRAINER_METRICS_ADDRESS"], int(environment["LORAMILL_TRAINER_METRICS_PORT"]))
    assert served == ("0.0.0.0", 9464)
    assert container_of(job)["ports"] == [{"name": "metrics", "containerPort": 9464}]


def test_trainers_send_spans_where_the_operator_says_and_nowhere_else() -> None:
    collector = "http://collector.tracing:4318"
    assert environment_of(example(GPU, {"traces_endpoint": collector}).job)["OTEL_EXPORTER_OTLP_ENDPOINT"] == collector
    assert not any(name.startswith("OTEL_") for name in environment_of(example(GPU).job))


def test_the_cluster_chooses_the_user_where_the_operator_leaves_it_to_it() -> None:
    security = pod_of(example(CPU, {"run_as_user": None}).job)["securityContext"]
    assert security == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_the_grace_is_shorter_on_spot_unless_the_operator_says_it() -> None:
    grace = "terminationGracePeriodSeconds"
    assert [pod_of(example(each).job)[grace] for each in (GPU, SPOT)] == [30, 25]
    assert pod_of(example(SPOT | {"termination_grace_seconds": 110}).job)[grace] == 110


def test_a_queue_of_kueue_begins_suspended() -> None:
    alone, queued = example(GPU).job, example(GPU, {"queue_name": "all", "queue_priority_class": "low"}).job
    own = example(GPU | {"queue_name": "gpus"}, {"queue_name": "all"}).job
    assert [job["spec"]["suspend"] for job in (alone, queued, own)] == [False, True, True]
    assert [job["metadata"]["labels"].get("kueue.x-k8s.io/queue-name") for job in (alone, queued, own)] == [
        None,
        "all",
        "gpus",
    ]
    assert queued["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "low"
    assert not any("kueue" in label for label in queued["spec"]["template"]["metadata"]["labels"])


def test_a_class_without_gpus_trains_on_the_cpu() -> None:
    assert environment_of(example(CPU).job)["LORAMILL_TRAINER_DEVICE"] == "cpu"
    assert "nvidia.com/gpu" not in container_of(example(CPU).job)["resources"]["limits"]
    assert "LORAMILL_TRAINER_DEVICE" not in environment_of(example(GPU).job)


def test_an_address_is_not_expanded() -> None:
    plain = launch_of()
    launch = manifests.TrainerLaunch(plain.launch, plain.assignment, "s3://b/$(HOME)/1.json")
    assert container_of(example(GPU, launch=launch).job)["args"] == ["s3://b/$$(HOME)/1.json"]


def test_credentials_are_read_by_the_sdk_and_go_with_the_job() -> None:
    rendered = example(GPU)
    job, launch = rendered.job, rendered.launch.launch
    files, expires = {"config": "c", "credentials.json": "{}"}, datetime(2027, 1, 2, tzinfo=UTC)
    secret = render_credentials_secret(launch, rendered.pod, files, expires, "uid-1")
    assert secret["stringData"].keys() == {"config", "credentials.json"}
    (owner,) = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Job", job["metadata"]["name"], "uid-1")
    assert {"name": "credentials", "secret": {"secretName": secret["metadata"]["name"]}} in pod_of(job)["volumes"]
    assert secret["metadata"]["namespace"] == job["metadata"]["namespace"]
    assert environment_of(job)["AWS_CONFIG_FILE"] == "/var/run/loramill/credentials/config"
    unmounted = example(GPU, {"mount_credentials": False}).job
    assert "AWS_CONFIG_FILE" not in environment_of(unmounted)


def test_the_jobs_deadline_leaves_time_to_wait() -> None:
    settings = {"pending_allowance": 3600, "finished_job_retention": 60}
    job = render_job(launch_of(deadline=100), example(GPU).compute_class, example(GPU, settings).pod)
    assert (job["spec"]["activeDeadlineSeconds"], job["spec"]["ttlSecondsAfterFinished"]) == (3700, 60)


def test_golden_files_are_plain_yaml() -> None:
    for name in GOLDEN:
        assert yaml.safe_load(golden_file(name).read_text()) == GOLDEN[name].job
