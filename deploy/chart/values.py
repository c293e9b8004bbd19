"""The chart's values: one model, from which values.yaml, values.schema.json and docs/helm-values.md are written.

`operator` is the operator's file, in the service's own words (`service.configuration`), without what the chart fills in itself.
No part takes unknown keys, and no part is a free piece of a Kubernetes object.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from service.configuration import Configuration

Port = Annotated[int, Field(ge=1, le=65535)]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]
Labels = dict[str, str]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")]
Digest = Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


class Global(_Part):
    """Shared with other charts of the same release."""

    image_registry: str = Field("", description="Registry of every image, in the place of each image's own.")
    image_pull_secrets: tuple[str, ...] = Field(
        (), description="Existing Secrets that the registry is entered with, by name, in both namespaces."
    )


class Image(_Part):
    """The service's image."""

    registry: str = Field("", description="Registry, such as registry.example.com; empty for the node's default.")
    repository: str = Field("loramill-service", min_length=1, description="Repository.")
    tag: str = Field("", description="Tag where no digest is given; empty for the chart's appVersion.")
    digest: Digest = Field("", description="Digest, sha256:…; better than a tag.")
    pull_policy: PullPolicy = Field("IfNotPresent", description="When nodes ask the registry.")


class TrainerImage(_Part):
    """The trainer's image."""

    registry: str = Field("", description="Registry, such as registry.example.com; empty for the node's default.")
    repository: str = Field("loramill-trainer", min_length=1, description="Repository.")
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] = Field(
        description="Digest, sha256:…; required, so that all launches of a job run the same."
    )
    pull_policy: PullPolicy = Field("IfNotPresent", description="When nodes ask the registry.")


class ServiceAccount(_Part):
    """A ServiceAccount. Its annotations carry a cloud identity (eks.amazonaws.com/role-arn, iam.gke.io/gcp-service-account)."""

    create: bool = Field(True, description="Make it; else it exists.")
    name: str = Field("", description="Its name; empty for the chart's own.")
    annotations: Labels = Field({}, description="Annotations, such as the cloud role of IRSA or Workload Identity.")
    labels: Labels = Field({}, description="Labels of the account.")


class Namespace(_Part):
    """The trainers' namespace, apart from the service's: rights in one say nothing about the other."""

    name: str = Field("loramill-jobs", min_length=1, max_length=63, description="Its name.")
    create: bool = Field(True, description="Make it, with the restricted Pod Security level; it goes with the release.")
    labels: Labels = Field({}, description="More labels of it.")


class Trainers(_Part):
    """What trainers' pods run, and where."""

    namespace: Namespace = Namespace()
    image: TrainerImage
    service_account: ServiceAccount = ServiceAccount()


class Service(_Part):
    """How callers reach it."""

    type: Literal["ClusterIP", "LoadBalancer", "NodePort"] = Field("ClusterIP", description="Type of the Service.")
    port: Port = Field(50051, description="Port of gRPC.")
    cluster_ip: str = Field("", description="A fixed address; empty for one that the cluster chooses.")
    annotations: Labels = Field({}, description="Annotations, such as those of a load balancer.")
    load_balancer_source_ranges: tuple[str, ...] = Field((), description="From where a load balancer is reached.")


class IssuerRef(_Part):
    """cert-manager's issuer."""

    name: str = Field("", description="Its name.")
    kind: Literal["Issuer", "ClusterIssuer"] = Field("ClusterIssuer", description="Its kind.")
    group: str = Field("cert-manager.io", description="Its API group.")


class CertManager(_Part):
    """A Certificate of cert-manager's."""

    enabled: bool = Field(False, description="Have cert-manager issue and renew the certificate.")
    issuer_ref: IssuerRef = IssuerRef()
    dns_names: tuple[str, ...] = Field((), description="Names beside those of the Service.")
    duration: str = Field("2160h", pattern=r"^[0-9]+h$", description="Lifetime of a certificate.")
    renew_before: str = Field("360h", pattern=r"^[0-9]+h$", description="How long before its end it is renewed.")


class ClientCertificates(_Part):
    """Callers who show a certificate."""

    existing_secret: str = Field(
        "", description="Existing Secret with the authorities of client certificates; empty to take none."
    )
    key: str = Field("ca.crt", min_length=1, description="Its key with the authorities in PEM.")
    port: Port = Field(50053, description="Port on which a client certificate is required.")


class Tls(_Part):
    """The server's certificate. Renewed files are read again without a restart."""

    enabled: bool = Field(
        True, description="Serve TLS. If not, operator.authentication.plaintext must be behind-a-mesh."
    )
    existing_secret: str = Field(
        "", description="Existing Secret of type kubernetes.io/tls; empty for <fullname>-tls, which cert-manager fills."
    )
    cert_manager: CertManager = CertManager()
    clients: ClientCertificates = ClientCertificates()


class Storage(_Part):
    """How service and trainers reach the object store. operator.store says which bucket."""

    existing_secret: str = Field(
        "",
        description="Existing Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; empty where the service account's "
        "identity is enough.",
    )
    endpoint_url: Annotated[str, Field(pattern=r"^(https?://.+)?$")] = Field(
        "", description="Address of the store; empty for AWS's own."
    )
    region: str = Field("", description="Region of the bucket.")
    ca_certificates: str = Field("", description="Authorities in PEM that the store is trusted by, beside the image's.")


class Files(_Part):
    """Files for the service, mounted at /etc/loramill-files/<name>/: static keys, an identity provider's keys."""

    secrets: tuple[str, ...] = Field((), description="Existing Secrets, by name.")
    config_maps: tuple[str, ...] = Field((), description="Existing ConfigMaps, by name.")


class Settings(_Part):
    """Flags of the service."""

    log_format: Literal["json", "plain"] = Field("json", description="Form of log lines.")
    upload_limit: int = Field(209715200, ge=1, description="Bytes of the largest file of a dataset.")
    adapter_limit: int = Field(2147483648, ge=1, description="Bytes of the largest adapter uploaded.")
    drain_seconds: int = Field(
        5,
        ge=0,
        le=300,
        description="Between leaving the Service's endpoints and GOAWAY, so that no call meets a closed door.",
    )
    stop_grace_seconds: int = Field(20, ge=1, le=600, description="How long calls under way may go on after GOAWAY.")
    restored: str = Field(
        "",
        max_length=100,
        pattern="^[A-Za-z0-9._-]*$",
        description="Name of a restore of the store, such as its date: nothing is launched until admission is resumed.",
    )
    staging_size: Quantity = Field("20Gi", description="Disk for unfinished uploads and imports.")


class Amounts(_Part):
    """CPU and memory."""

    cpu: Quantity | None = Field(None, description="CPUs.")
    memory: Quantity | None = Field(None, description="Memory.")


class Resources(_Part):
    """Of each replica."""

    requests: Amounts = Amounts(cpu="100m", memory="256Mi")
    limits: Amounts = Amounts(memory="1Gi")


class PodSecurity(_Part):
    """Who the service runs as. `null` leaves it to the cluster, as OpenShift wants it."""

    run_as_user: int | None = Field(65532, ge=1, description="User.")
    run_as_group: int | None = Field(65532, ge=1, description="Group.")
    fs_group: int | None = Field(65532, ge=1, description="Group of volumes.")


class Toleration(_Part):
    """A taint that does not keep pods away."""

    key: str = Field("", description="The taint's key; empty with Exists means every one.")
    operator: Literal["Equal", "Exists"] = Field("Equal", description="Whether the value matters.")
    value: str = Field("", description="The taint's value.")
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = Field("", description="The taint's effect.")


class Spread(_Part):
    """How replicas are spread."""

    topology_key: str = Field(min_length=1, description="Label of nodes.")
    max_skew: int = Field(1, ge=1, description="Difference between two places at most.")
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field(
        "ScheduleAnyway", description="What if that cannot be."
    )


class DisruptionBudget(_Part):
    """PodDisruptionBudget of the service."""

    enabled: bool = Field(True, description="Make it.")
    min_available: int = Field(1, ge=1, description="Replicas that a drain leaves.")


class Selector(_Part):
    """Labels."""

    match_labels: Labels = Field({}, description="Labels, all of them.")


class IpBlock(_Part):
    """Addresses."""

    cidr: str = Field(min_length=1, description="Addresses.")
    except_: tuple[str, ...] = Field((), alias="except", description="But not these.")


class Peer(_Part):
    """Who is meant, as in a NetworkPolicy."""

    namespace_selector: Selector | None = Field(None, description="Namespaces.")
    pod_selector: Selector | None = Field(None, description="Pods.")
    ip_block: IpBlock | None = Field(None, description="Addresses outside.")


class Egress(_Part):
    """Where one may go."""

    to: tuple[Peer, ...] = Field((), description="Empty for everywhere.")
    ports: tuple[Port, ...] = Field((), description="TCP ports.")


_ANYWHERE = (
    Peer(ip_block=IpBlock(cidr="0.0.0.0/0", except_=("169.254.0.0/16",))),
    Peer(ip_block=IpBlock(cidr="::/0", except_=("fe80::/10", "fd00:ec2::/32"))),
)


class NetworkPolicy(_Part):
    """Who may talk to whom; all else is denied. It takes a network plugin that enforces it."""

    enabled: bool = Field(True, description="Make the policies.")
    callers: tuple[Peer, ...] = Field((), description="Who may call gRPC; empty for everybody.")
    monitoring: tuple[Peer, ...] = Field(
        (Peer(namespace_selector=Selector(match_labels={"kubernetes.io/metadata.name": "monitoring"})),),
        description="Who may read metrics, of the service and of trainers.",
    )
    api_server: Egress = Field(
        Egress(to=_ANYWHERE, ports=(443, 6443)), description="Where the API server is, for the service alone."
    )
    store: Egress = Field(
        Egress(to=_ANYWHERE, ports=(443,)),
        description="Where the object store is; the port of storage.endpointUrl is added. AWS's STS is meant too.",
    )
    dns: Egress = Field(Egress(ports=(53,)), description="Where names are resolved, by UDP and TCP.")
    cloud_identity: Literal["none", "eks-pod-identity", "gke"] = Field(
        "none", description="Allows the node's address from which this kind of identity is had; IRSA needs none."
    )
    extra_egress: tuple[Egress, ...] = Field(
        (), description="More for the service, such as an identity provider with another port than 443."
    )


class Traces(_Part):
    """Spans by OpenTelemetry, from the call that makes a job to the first step of its training; off without an endpoint."""

    endpoint: str = Field(
        "",
        pattern=r"^(https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?)?$",
        description="Collector that takes OTLP by HTTP, such as http://otel-collector.monitoring:4318.",
    )
    sampled: float = Field(
        1.0, ge=0, le=1, description="Share of the calls that begin a trace, of those that are part of none."
    )
    to: tuple[Peer, ...] = Field((), description="Where the collector is, for the policies; empty for everywhere.")


class ServiceMonitor(_Part):
    """Prometheus operator: the service's metrics."""

    enabled: bool = Field(False, description="Make it; takes the CRDs of monitoring.coreos.com.")
    interval: str = Field("30s", pattern=r"^[0-9]+(ms|s|m)$", description="Between two readings.")
    labels: Labels = Field({}, description="Labels that your Prometheus selects by.")


class PodMonitor(_Part):
    """Prometheus operator: the trainers' metrics."""

    enabled: bool = Field(False, description="Make it; takes the CRDs of monitoring.coreos.com.")
    interval: str = Field("15s", pattern=r"^[0-9]+(ms|s|m)$", description="Between two readings.")
    labels: Labels = Field({}, description="Labels that your Prometheus selects by.")


class Rules(_Part):
    """Prometheus operator: alert rules."""

    enabled: bool = Field(False, description="Make them; takes the CRDs of monitoring.coreos.com.")
    labels: Labels = Field({}, description="Labels that your Prometheus selects by.")


class Dashboards(_Part):
    """Grafana dashboards in ConfigMaps."""

    enabled: bool = Field(False, description="Make them.")
    labels: Labels = Field({"grafana_dashboard": "1"}, description="Labels that Grafana's sidecar selects by.")
    annotations: Labels = Field({}, description="Annotations, such as grafana_folder.")


class Monitoring(_Part):
    """Prometheus and Grafana."""

    scrape_annotations: bool = Field(
        True,
        description="Annotate the service's pods with prometheus.io/scrape; switch off where the monitors are used.",
    )
    service_monitor: ServiceMonitor = ServiceMonitor()
    pod_monitor: PodMonitor = PodMonitor()
    rules: Rules = Rules()
    dashboards: Dashboards = Dashboards()


class Test(_Part):
    """`helm test`: a pod that trains on builtin://shapes for some steps, as a tenant of its own."""

    enabled: bool = Field(True, description="Make the pod, and the grant that lets it in.")
    tenant: str = Field("helm-test", min_length=1, max_length=63, description="Tenant of its job.")
    compute_class: str = Field("", description="Compute class of its job; empty for the cheapest.")
    steps: int = Field(10, ge=1, le=1000, description="Steps of its job.")


class Values(_Part):
    """All values of the chart."""

    global_: Global = Field(Global(), alias="global")
    name_override: str = Field("", max_length=63, description="In the place of the chart's name.")
    fullname_override: str = Field("", max_length=52, description="Name of all objects; empty for the release's.")
    image: Image = Image()
    replicas: int = Field(3, ge=1, le=50, description="Replicas; each answers every call, one admits waiting jobs.")
    operator: Configuration = Field(
        description="The operator's file: store, compute classes, tenants. The chart fills in images, namespaces and TLS."
    )
    trainers: Trainers
    storage: Storage = Storage()
    tls: Tls = Tls()
    files: Files = Files()
    settings: Settings = Settings()
    service: Service = Service()
    service_account: ServiceAccount = ServiceAccount()
    pod_disruption_budget: DisruptionBudget = DisruptionBudget()
    resources: Resources = Resources()
    pod_security: PodSecurity = PodSecurity()
    pod_labels: Labels = Field({}, description="More labels of the service's pods.")
    pod_annotations: Labels = Field({}, description="More annotations of the service's pods.")
    node_selector: Labels = Field({}, description="Labels of the service's nodes.")
    tolerations: tuple[Toleration, ...] = Field((), description="Taints that do not keep the service away.")
    topology_spread: tuple[Spread, ...] = Field(
        (Spread(topology_key="kubernetes.io/hostname"), Spread(topology_key="topology.kubernetes.io/zone")),
        description="How replicas are spread.",
    )
    priority_class_name: str = Field("", description="PriorityClass of the service.")
    network_policy: NetworkPolicy = NetworkPolicy()
    monitoring: Monitoring = Monitoring()
    traces: Traces = Traces()
    test: Test = Test()
