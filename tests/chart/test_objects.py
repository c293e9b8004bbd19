"""The chart's objects: restricted, denied by default, pinned, drained, and in two namespaces alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.rendering import CI, NAMESPACE, Object, all_of, changed, one, rendered, values_of


def pods_of(objects: list[Object]) -> list[Object]:
    """All PodSpecs."""
    deployments = [each["spec"]["template"]["spec"] for each in all_of(objects, "Deployment")]
    return [*deployments, *(each["spec"] for each in all_of(objects, "Pod"))]


def service_pod(values: Object) -> Object:
    pod: Object = one(rendered(values), "Deployment")["spec"]["template"]["spec"]
    return pod


def container_of(values: Object) -> Object:
    (container,) = service_pod(values)["containers"]
    return container


@pytest.mark.parametrize("name", CI)
def test_everything_lies_in_the_two_namespaces_or_is_of_the_cluster(name: str) -> None:
    values = values_of(name)
    jobs = values["trainers"].get("namespace", {}).get("name", "loramill-jobs")
    objects = rendered(values)
    of_the_cluster = {"Namespace", "ClusterRole", "ClusterRoleBinding"}
    assert {each["metadata"].get("namespace") for each in objects if each["kind"] not in of_the_cluster} == {
        NAMESPACE,
        jobs,
    }
    names = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects]
    assert len(set(names)) == len(names)
    for each in objects:
        assert each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm", each["metadata"]["name"]


@pytest.mark.parametrize("name", CI)
def test_every_pod_is_restricted_and_has_no_token_but_a_projected_one(name: str) -> None:
    pods = pods_of(rendered(values_of(name)))
    assert len(pods) == 2
    for pod in pods:
        assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
        security = pod["securityContext"]
        assert (security["runAsNonRoot"], security["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
        assert ("runAsUser" in security) == (name != "restricted")
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {volume["name"] for volume in pod["volumes"]} == {mount["name"] for mount in container["volumeMounts"]}
        for volume in pod["volumes"]:
            assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"]


def test_the_trainers_namespace_enforces_the_restricted_level() -> None:
    labels = one(rendered(values_of("minimal")), "Namespace", "loramill-jobs")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert not all_of(rendered(values_of("restricted")), "Namespace")


def test_images_come_by_digest_from_the_registry_of_all() -> None:
    digest = "sha256:" + 64 * "1"
    assert container_of(values_of("production"))["image"] == f"registry.example.com/loramill-service@{digest}"
    own = changed(values_of("minimal"), image={"registry": "own.example.com", "tag": "1.2.3"})
    assert container_of(own)["image"] == "own.example.com/loramill-service:1.2.3"
    assert container_of(changed(own, **{"global": {"imageRegistry": "all.example.com"}}))["image"].startswith(
        "all.example.com/"
    )
    assert container_of(values_of("minimal"))["image"] == "loramill-service:0.1.0"
    for pod in pods_of(rendered(values_of("air-gapped"))):
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
        assert pod["containers"][0]["image"].startswith("registry.internal:5000/")


def test_probes_ask_the_plaintext_port_of_health() -> None:
    container = container_of(values_of("production"))
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"] == {"port": 50052}


def test_a_replica_is_drained_before_it_stops_and_replaced_before_it_goes() -> None:
    values = changed(values_of("minimal"), settings={"drainSeconds": 7, "stopGraceSeconds": 40})
    pod, container = service_pod(values), container_of(values)
    assert container["lifecycle"]["preStop"] == {"sleep": {"seconds": 7}}
    assert "--stop-grace=40" in container["args"]
    assert pod["terminationGracePeriodSeconds"] > 7 + 40
    deployment = one(rendered(values), "Deployment")["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    budget = one(rendered(values), "PodDisruptionBudget")["spec"]
    assert budget["minAvailable"] == 1
    assert budget["selector"] == deployment["selector"]
    keys = [each["topologyKey"] for each in pod["topologySpreadConstraints"]]
    assert keys == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert all(each["labelSelector"] == deployment["selector"] for each in pod["topologySpreadConstraints"])


def test_another_operators_file_makes_other_pods() -> None:
    def annotations(values: Object) -> Object:
        found: Object = one(rendered(values), "Deployment")["spec"]["template"]["metadata"]["annotations"]
        return found

    values = values_of("minimal")
    assert annotations(values) == annotations(values)
    key = "checksum/operator"
    assert annotations(values)[key] != annotations(changed(values, operator__jobs_at_once=7))[key]


def test_cloud_identities_and_existing_secrets() -> None:
    account = one(rendered(values_of("production")), "ServiceAccount", "loramill")
    assert account["metadata"]["annotations"] == {
        "eks.amazonaws.com/role-arn": "arn:aws:iam::000000000000:role/loramill-service"
    }
    assert "envFrom" not in container_of(values_of("production"))
    assert container_of(values_of("air-gapped"))["envFrom"] == [{"secretRef": {"name": "loramill-storage"}}]
    values = changed(values_of("minimal"), serviceAccount={"create": False, "name": "theirs"})
    assert service_pod(values)["serviceAccountName"] == "theirs"
    assert not [each for each in all_of(rendered(values), "ServiceAccount") if each["metadata"]["name"] == "theirs"]
    bindings = [*all_of(rendered(values), "RoleBinding"), *all_of(rendered(values), "ClusterRoleBinding")]
    assert {subject["name"] for binding in bindings for subject in binding["subjects"]} == {"theirs"}
    spot = {mount["name"]: mount["mountPath"] for mount in container_of(values_of("spot-pool"))["volumeMounts"]}
    assert spot["secret-trainer-key"] == "/etc/loramill-files/trainer-key"


def test_the_certificate_is_an_existing_secret_or_cert_managers() -> None:
    def secret(values: Object) -> str:
        (name,) = [v["secret"]["secretName"] for v in service_pod(values)["volumes"] if v["name"] == "tls"]
        return str(name)

    assert secret(values_of("minimal")) == "loramill-tls"
    assert secret(changed(values_of("minimal"), tls={"existingSecret": "mine"})) == "mine"
    certificate = one(rendered(values_of("production")), "Certificate")["spec"]
    assert certificate["secretName"] == secret(values_of("production"))
    assert {"loramill.loramill.svc", "loramill.example.com"} <= {*certificate["dnsNames"]}
    assert not [volume for volume in service_pod(values_of("restricted"))["volumes"] if volume["name"] == "tls"]


def test_client_certificates_have_a_port_where_tokens_are_taken_too() -> None:
    ports = {port["name"]: port["port"] for port in one(rendered(values_of("production")), "Service")["spec"]["ports"]}
    assert ports == {"grpc": 50051, "grpc-mtls": 50053}
    assert [port["name"] for port in one(rendered(values_of("minimal")), "Service")["spec"]["ports"]] == ["grpc"]


# -- network -----------------------------------------------------------------------------------------------------------


def policy(values: Object, name: str, namespace: str | None = None) -> Object:
    spec: Object = one(rendered(values), "NetworkPolicy", f"loramill-{name}", namespace)["spec"]
    return spec


def ports_of(rules: list[Object]) -> set[Any]:
    return {port["port"] for rule in rules for port in rule["ports"]}


def test_nothing_is_allowed_by_default() -> None:
    values = values_of("minimal")
    jobs = policy(values, "deny", "loramill-jobs")
    assert jobs == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    own = policy(values, "deny", NAMESPACE)
    assert own["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in own
    assert "egress" not in own
    for pod in (*all_of(rendered(values), "Pod"), one(rendered(values), "Deployment")["spec"]["template"]):
        assert own["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_the_service_reaches_names_the_store_and_the_api_server() -> None:
    found = policy(values_of("air-gapped"), "service")
    assert ports_of(found["egress"]) == {53, 9000, 6443}
    (store,) = [rule for rule in found["egress"] if ports_of([rule]) == {9000}]
    assert store["to"] == [{"ipBlock": {"cidr": "10.20.0.0/24"}}]
    assert ports_of(found["ingress"]) == {"grpc", "health", "metrics"}
    gke = policy(values_of("spot-pool"), "service")["egress"]
    assert [rule for rule in gke if {"ipBlock": {"cidr": "169.254.169.254/32"}} in rule.get("to", ())]


def test_trainers_reach_names_and_the_store_alone_and_are_reached_by_prometheus_alone() -> None:
    found = policy(values_of("air-gapped"), "trainers")
    assert ports_of(found["egress"]) == {53, 9000}
    assert ports_of(found["ingress"]) == {"metrics"}
    assert found["ingress"][0]["from"]
    # The labels that the service gives its pods.
    assert found["podSelector"]["matchLabels"] == {
        "app.kubernetes.io/name": "loramill-trainer",
        "app.kubernetes.io/managed-by": "loramill",
    }
    everywhere = policy(values_of("minimal"), "trainers")["egress"]
    (store,) = [rule for rule in everywhere if ports_of([rule]) == {443}]
    blocks = [peer["ipBlock"] for peer in store["to"]]
    assert {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]} in blocks


def test_spans_go_from_service_and_trainers_to_the_collector_where_there_is_one() -> None:
    values = values_of("air-gapped")
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "tracing"}}}
    traced = changed(values, traces={"endpoint": "http://collector.tracing:4318", "sampled": 0.1, "to": [peer]})
    for name in ("service", "trainers"):
        assert 4318 not in ports_of(policy(values, name)["egress"])
        (rule,) = [rule for rule in policy(traced, name)["egress"] if ports_of([rule]) == {4318}]
        assert rule["to"] == [peer]
    environment = {entry["name"]: entry.get("value") for entry in container_of(traced)["env"]}
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector.tracing:4318"
    assert (environment["OTEL_TRACES_SAMPLER"], environment["OTEL_TRACES_SAMPLER_ARG"]) == (
        "parentbased_traceidratio",
        "0.1",
    )
    assert not any(entry["name"].startswith("OTEL_") for entry in container_of(values)["env"])
    assert "traces_endpoint: http://collector.tracing:4318" in str(rendered(traced))


def test_imports_alone_go_out_to_their_hub_where_there_are_any() -> None:
    image = "registry.example.com/loramill-service@sha256:" + "0" * 64
    values = changed(values_of("air-gapped"), operator__imports={"image": image})
    assert "0.0.0.0/0" not in str(policy(values, "importers")["egress"])
    values = changed(values, operator__imports__hub={"endpoint": "http://hub.example.com:8080"})
    egress = policy(values, "importers")["egress"]
    assert {443, 8080} <= ports_of(egress)
    assert "0.0.0.0/0" not in str(policy(values, "trainers")["egress"])
    assert not any(each["metadata"]["name"].endswith("importers") for each in rendered(values_of("air-gapped")))


def test_callers_can_be_restricted_and_helm_test_still_gets_in() -> None:
    (callers, test, *_) = policy(values_of("production"), "service")["ingress"]
    assert len(callers["from"]) == 2
    assert ports_of([callers]) == {"grpc", "grpc-mtls"}
    assert test["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"
    assert "from" not in policy(values_of("minimal"), "service")["ingress"][0]


def test_no_policies_where_none_are_wanted() -> None:
    assert not all_of(rendered(changed(values_of("minimal"), networkPolicy={"enabled": False})), "NetworkPolicy")


# -- monitoring --------------------------------------------------------------------------------------------------------


def test_prometheus_finds_service_and_trainers() -> None:
    objects = rendered(values_of("production"))
    monitor = one(objects, "ServiceMonitor")["spec"]
    service = one(objects, "Service", "loramill-metrics")
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert [endpoint["port"] for endpoint in monitor["endpoints"]] == [
        port["name"] for port in service["spec"]["ports"]
    ]
    trainers = one(objects, "PodMonitor", "loramill-trainers")["spec"]
    assert trainers["namespaceSelector"] == {"matchNames": ["loramill-jobs"]}
    annotations = one(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert "prometheus.io/scrape" not in annotations
    assert one(objects, "PrometheusRule")["metadata"]["labels"]["release"] == "prometheus"


def test_nothing_of_prometheus_is_made_unless_asked_for() -> None:
    assert not [each for each in rendered(values_of("minimal")) if "monitoring.coreos.com" in each["apiVersion"]]


# -- helm test ---------------------------------------------------------------------------------------------------------


def test_helm_test_trains_with_a_token_for_this_service() -> None:
    objects = rendered(changed(values_of("production"), test={"computeClass": "h100", "steps": 25}))
    pod = one(objects, "Pod", "loramill-test")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    environment = {each["name"]: each["value"] for each in pod["spec"]["containers"][0]["env"]}
    assert environment["LORAMILL_SERVER"] == "loramill.loramill.svc:50051"
    (identity,) = [volume["projected"] for volume in pod["spec"]["volumes"] if volume["name"] == "identity"]
    assert identity["sources"][0]["serviceAccountToken"]["audience"] == "loramill"
    job = one(objects, "ConfigMap", "loramill-test")["data"]["job.yaml"]
    assert "compute_class: h100" in job
    assert "steps: 25" in job
    mesh = one(rendered(values_of("restricted")), "Pod", "loramill-test")["spec"]["containers"][0]["env"]
    assert {"name": "LORAMILL_INSECURE_TOKEN", "value": "1"} in mesh


def test_a_restore_is_named_to_the_service_where_there_was_one() -> None:
    values = values_of("minimal")
    assert not any(argument.startswith("--restored") for argument in container_of(values)["args"])
    named = changed(values, settings__restored="2026-11-28")
    assert "--restored=2026-11-28" in container_of(named)["args"]
