"""What the chart takes: closed values, derived files that are up to date, and faults told before anything is installed."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

from deploy.chart.derived import derived
from service.auth.exposure import check_exposure
from service.configuration import Configuration, read_configuration
from tests.chart.rendering import CHART, CI, Object, changed, chart, notes, one, rendered, values_of

ROOT = CHART.parents[1]


def test_what_is_derived_is_up_to_date() -> None:
    stale = [str(path) for path, content in derived().items() if not path.is_file() or path.read_text() != content]
    assert stale == [], "run: python -m deploy.chart"


def objects_of(schema: Any, place: str = "") -> Iterator[tuple[str, Object]]:
    if isinstance(schema, dict):
        if "properties" in schema or "object" in str(schema.get("type")):
            yield place, schema
        for key, value in schema.items():
            yield from objects_of(value, f"{place}/{key}")
    elif isinstance(schema, list):
        for number, value in enumerate(schema):
            yield from objects_of(value, f"{place}/{number}")


def test_no_part_of_the_values_takes_unknown_keys() -> None:
    found = dict(objects_of(json.loads((CHART / "values.schema.json").read_text())))
    assert len(found) > 50
    for place, schema in found.items():
        more = schema.get("additionalProperties")
        assert more is False or ("properties" not in schema and more["type"] == "string"), place


@pytest.mark.parametrize(
    "path",
    [
        "replica",
        "image__digset",
        "operator__jobs_at_one",
        "operator__trainers__image",
        "operator__tls",
        "monitoring__x__y",
    ],
)
def test_a_misspelt_value_is_refused_by_name(path: str) -> None:
    name = path.rpartition("__")[2] if path != "monitoring__x__y" else "x"
    with pytest.raises(helm.HelmValuesError, match=f"'{name}' not allowed"):
        chart().validate_schema(changed(values_of("minimal"), **{path: "1"}))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("replicas", 0),
        ("image__digest", "latest"),
        ("trainers__image__digest", ""),
        ("operator__store", "file:///x"),
        ("operator__compute__classes", []),
        ("tls__certManager__duration", "90d"),
        ("networkPolicy__store__ports", ["https"]),
        ("operator__retention", {"checkpoints": "a week"}),
    ],
)
def test_a_value_out_of_range_is_refused(path: str, value: Any) -> None:
    with pytest.raises(helm.HelmValuesError):
        chart().validate_schema(changed(values_of("minimal"), **{path: value}))


@pytest.mark.parametrize("path", ["operator", "trainers__image"])
def test_what_is_required_is_asked_for(path: str) -> None:
    with pytest.raises(helm.HelmValuesError):
        chart().validate_schema(changed(values_of("minimal"), **{path: {}}))


@pytest.mark.parametrize("name", CI)
def test_every_example_passes_helms_strict_lint(name: str) -> None:
    report = helm.lint(CHART, values_of(name), strict=True, kube_version="v1.31.0")
    assert (report["messages"], report["errors"]) == ([], [])


@pytest.mark.parametrize("name", CI)
def test_the_service_can_use_the_operators_file_of_every_example(name: str, tmp_path: Path) -> None:
    configuration = operator_file(values_of(name), tmp_path)
    check_exposure("0.0.0.0", configuration.authentication, configuration.tls, configuration.tenants)
    given = values_of(name)
    assert configuration.trainers.namespace == given["trainers"].get("namespace", {}).get("name", "loramill-jobs")
    assert configuration.trainers.image.endswith(given["trainers"]["image"]["digest"])
    assert configuration.store == given["operator"]["store"]


def operator_file(values: Object, folder: Path) -> Configuration:
    data = one(rendered(values), "ConfigMap", "loramill-operator")["data"]["operator.yaml"]
    (folder / "operator.yaml").write_text(data)
    return read_configuration(folder / "operator.yaml")


def test_the_operators_file_has_what_only_the_chart_knows(tmp_path: Path) -> None:
    configuration = operator_file(values_of("air-gapped"), tmp_path)
    trainers = configuration.trainers
    assert trainers.image.startswith("registry.internal:5000/loramill-trainer@sha256:")
    assert (trainers.image_pull_secrets, trainers.service_account_name) == (("registry",), "loramill-trainer")
    assert (trainers.s3.endpoint_url, trainers.s3.region) == ("https://s3.internal:9000", "us-east-1")
    assert trainers.s3.ca_bundle is not None
    assert (trainers.s3.ca_bundle.config_map, trainers.s3.ca_bundle.key) == ("loramill-trust", "ca.pem")
    assert configuration.tls is not None
    assert str(configuration.tls.certificate) == "/etc/loramill-tls/tls.crt"
    assert configuration.tls.client_ca is None
    with_clients = operator_file(values_of("production"), tmp_path).tls
    assert with_clients is not None
    assert str(with_clients.client_ca) == "/etc/loramill-client-ca/ca.crt"
    assert not operator_file(values_of("restricted"), tmp_path).trainers.mount_credentials
    assert operator_file(values_of("restricted"), tmp_path).trainers.run_as_user is None


def test_large_numbers_and_nulls_arrive_as_they_are(tmp_path: Path) -> None:
    values = changed(
        values_of("minimal"),
        operator__jobs_at_once=100_000,
        operator__retention={"checkpoints": None},
        settings__uploadLimit=10**12,
    )
    configuration = operator_file(values, tmp_path)
    assert (configuration.jobs_at_once, configuration.retention.checkpoints) == (100_000, None)
    (container,) = one(rendered(values), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert "--upload-limit=1000000000000" in container["args"]


def test_the_pod_of_helm_test_is_let_in_by_a_grant(tmp_path: Path) -> None:
    def granted(values: Object) -> list[str]:
        return [f"{grant.tenant} {grant.service_account}" for grant in operator_file(values, tmp_path).tenants]

    assert "helm-test loramill/loramill-test" in granted(values_of("minimal"))
    without = changed(values_of("minimal"), test={"enabled": False})
    assert granted(without) == ["art art-team/pipeline"]
    assert not [each for each in rendered(without) if each["metadata"]["name"] == "loramill-test"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"operator__authentication": {}}, "Nobody could prove who calls"),
        ({"tls__enabled": False}, "Without TLS tokens would travel"),
        ({"tls__certManager": {"enabled": True}}, "cert-manager needs an issuer"),
        (
            {"tls__certManager": {"enabled": True, "issuerRef": {"name": "x"}}, "tls__existingSecret": "y"},
            "from cert-manager or from an existing Secret",
        ),
        ({"trainers__namespace__name": "loramill"}, "Trainers must live apart"),
        ({"replicas": 2, "podDisruptionBudget__minAvailable": 2}, "No node could be drained"),
    ],
)
def test_what_cannot_be_is_told_before_it_is_installed(changes: Object, told: str) -> None:
    with pytest.raises(helm.HelmRenderError, match=told):
        rendered(changed(values_of("minimal"), **changes))


def test_the_notes_say_the_next_command() -> None:
    told = notes(values_of("minimal"))
    for command in (
        "kubectl -n loramill rollout status deployment/loramill",
        "kubectl -n loramill create secret tls loramill-tls",
        "helm -n loramill test loramill",
        "kubectl -n art-team create token pipeline --audience loramill",
        "loramill job submit",
    ):
        assert command in told
    assert "create secret tls" not in notes(values_of("production"))


def test_the_chart_describes_itself() -> None:
    described = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert described["appVersion"] == project["version"]
    assert described["kubeVersion"] == ">=1.31.0-0"
    annotations = described["annotations"]
    assert annotations["artifacthub.io/license"] == project["license"]
    images = [entry["image"] for entry in yaml.safe_load(annotations["artifacthub.io/images"])]
    assert images == [f"loramill-{name}:{described['appVersion']}" for name in ("service", "trainer")]
    assert yaml.safe_load(annotations["artifacthub.io/changes"])
