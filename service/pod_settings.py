"""What the operator says about trainers' pods, whatever their compute class: a closed form, no pod fields of one's own."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from service.kubernetes_syntax import DnsLabel, DnsSubdomain
from service.operator_model import OperatorModel

_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/-]{0,250}@sha256:[0-9a-f]{64}")
_URL = re.compile(r"https?://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:]{2,39}\])(?::[0-9]{1,5})?/?")
_REGION = r"^[a-z0-9][a-z0-9-]{0,62}$"
CONFIG_KEY = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,252}$"


def _pinned(image: str) -> str:
    if _IMAGE.fullmatch(image) is None:
        raise ValueError("must be an image with its digest, registry/name@sha256:…, so that all launches run the same")
    return image


def _http(url: str) -> str:
    if _URL.fullmatch(url) is None:
        raise ValueError("must be https://host or http://host, with a port if it needs one")
    return url


PinnedImage = Annotated[str, AfterValidator(_pinned)]
HttpUrl = Annotated[str, AfterValidator(_http)]


class CaBundle(OperatorModel):
    """Certificates that the object store is trusted by, in a ConfigMap of the trainers' namespace."""

    config_map: DnsSubdomain = Field(description="name of the ConfigMap")
    key: str = Field("ca.crt", pattern=CONFIG_KEY, description="its key with the certificates in PEM")


class S3Access(OperatorModel):
    """How trainers' pods reach the object store."""

    endpoint_url: HttpUrl | None = Field(None, description="address of the store; AWS's own if unset")
    region: str | None = Field(None, pattern=_REGION, description="region of the bucket")
    ca_bundle: CaBundle | None = Field(
        None, description="certificates of the store's authority; the image's own if unset"
    )


class ClaimedBases(OperatorModel):
    """Base models in a volume: of the cluster, or a folder of every node that a PersistentVolume offers."""

    persistent_volume_claim: DnsSubdomain = Field(description="name of the claim in the trainers' namespace")


class ImageBases(OperatorModel):
    """Base models in an OCI image that the nodes pull like any other.

    Kubernetes ≥ 1.35, or the feature ImageVolume switched on: without it the API server leaves the volume out and says nothing.
    """

    image: PinnedImage = Field(description="the image, with digest")


class PodSettings(OperatorModel):
    """What all trainers' pods have in common."""

    namespace: DnsLabel = Field("loramill-jobs", description="namespace of the Jobs")
    image: PinnedImage = Field(description="the trainer's image, with digest")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="when nodes ask the registry"
    )
    image_pull_secrets: tuple[DnsSubdomain, ...] = Field((), description="Secrets that the registry is entered with")
    service_account_name: DnsSubdomain = Field(
        "default", description="service account of the pods; its token is not mounted"
    )
    run_as_user: int | None = Field(
        65532, ge=1, description="user and group of the pods; null leaves them to the cluster, as OpenShift wants it"
    )
    mount_credentials: bool = Field(
        True, description="whether storage credentials come from a Secret; else from the service account"
    )
    queue_name: DnsLabel | None = Field(None, description="Kueue's LocalQueue; without one Kueue is not used")
    queue_priority_class: DnsLabel | None = Field(None, description="Kueue's WorkloadPriorityClass")
    s3: S3Access = Field(S3Access(), description="how pods reach the object store")
    base_models: ClaimedBases | ImageBases | None = Field(
        None, description="read-only volume with base models, looked at before the object store"
    )
    traces_endpoint: HttpUrl | None = Field(
        None, description="OTLP collector (HTTP) that trainers send their spans to; none if unset"
    )
    pending_allowance: timedelta = Field(
        timedelta(days=1),
        ge=timedelta(minutes=10),
        le=timedelta(days=30),
        description="how long a launch may take beside the job's deadline, which counts training alone",
    )
    finished_job_retention: timedelta = Field(
        timedelta(days=1),
        ge=timedelta(0),
        le=timedelta(days=30),
        description="how long Kubernetes keeps the Job after its end",
    )
