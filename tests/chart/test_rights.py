"""The service's rights are what its code asks the API server for: nothing more, nothing less."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.chart.rendering import Object, changed, one, rendered, values_of
from tests.cluster.test_rights import BREAKS, SILENT, Right

SERVICE = Path(__file__).resolve().parents[2] / "service"

RESOURCES = {
    "JOBS": "jobs",
    "PODS": "pods",
    "SECRETS": "secrets",
    "EVENTS": "events",
    "NODES": "nodes",
    "LEASES": "leases",
    "TOKEN_REVIEWS": "tokenreviews",
}
VERBS = {"get": "get", "create": "create", "replace": "update", "patch": "patch", "delete": "delete", "list": "list"}


def asked_for() -> Iterator[tuple[str, str]]:
    """(verb, resource) of every call of the API server in the service's code."""
    for path in sorted(SERVICE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            names = [argument.id for argument in node.args if isinstance(argument, ast.Name)]
            resources = [RESOURCES[name] for name in names if name in RESOURCES]
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called == "read_log":
                yield "get", "pods/log"
            elif called == "_write":  # the Lease's: its first argument is the method
                yield "update", "leases"
            elif called == "Mirror":
                yield from ((verb, resource) for resource in resources for verb in ("list", "watch"))
            elif called in VERBS:
                yield from ((VERBS[called], resource) for resource in resources)


def granted(objects: list[Object]) -> set[tuple[str, str]]:
    rules = [
        *one(objects, "Role", namespace="loramill-jobs")["rules"],
        *one(objects, "Role", namespace="loramill")["rules"],
        *one(objects, "ClusterRole", "loramill-loramill")["rules"],
    ]
    return {(verb, resource) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


def test_rights_are_what_the_code_uses() -> None:
    used = {*asked_for()}
    assert len(used) > 15
    assert granted(rendered(values_of("minimal"))) == used


def test_each_right_is_taken_away_by_a_test_on_the_cluster_or_known_to_be_missed_in_silence() -> None:
    objects = rendered(values_of("minimal"))
    roles = {
        "jobs": one(objects, "Role", namespace="loramill-jobs"),
        "own": one(objects, "Role", namespace="loramill"),
        "cluster": one(objects, "ClusterRole", "loramill-loramill"),
    }
    rights = {
        Right(place, resource, verb)
        for place, role in roles.items()
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert rights == BREAKS.keys() | SILENT.keys()


def test_of_the_cluster_only_token_reviews_and_nodes() -> None:
    rules = one(rendered(values_of("minimal")), "ClusterRole", "loramill-loramill")["rules"]
    assert [(rule["resources"], rule["verbs"]) for rule in rules] == [
        (["tokenreviews"], ["create"]),
        (["nodes"], ["get"]),
    ]
    by_certificate = changed(
        values_of("minimal"),
        operator__authentication={},
        tls={"clients": {"existingSecret": "authorities"}},
        operator__tenants=[{"tenant": "art", "role": "editor", "certificate": "cn:art"}],
    )
    rules = one(rendered(by_certificate), "ClusterRole", "loramill-loramill")["rules"]
    assert [rule["resources"] for rule in rules] == [["nodes"]]


def test_the_lease_is_there_and_no_other_may_be_touched() -> None:
    objects = rendered(values_of("minimal"))
    (rule,) = one(objects, "Role", namespace="loramill")["rules"]
    assert rule["resourceNames"] == ["loramill-admission"]
    assert one(objects, "Lease", "loramill-admission")["metadata"]["namespace"] == "loramill"


def test_trainers_have_no_rights() -> None:
    objects = rendered(values_of("minimal"))
    bindings = [each for each in objects if each["kind"].endswith("RoleBinding")]
    assert {subject["name"] for binding in bindings for subject in binding["subjects"]} == {"loramill"}
    account = one(objects, "ServiceAccount", "loramill-trainer")
    assert account["automountServiceAccountToken"] is False
