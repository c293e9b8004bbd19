"""What the operator says about imports of base models on a cluster: Jobs of their own, with a way out of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from service.importing.settings import LARGEST, ImportSettings, bucket_of
from service.importing.sources import SourceError
from service.kubernetes_syntax import ByteQuantity, CpuQuantity, DnsSubdomain, LabelKey, LabelValue
from service.operator_model import OperatorModel
from service.pod_settings import CONFIG_KEY, HttpUrl, PinnedImage


def _bucket(uri: str) -> str:
    try:
        return bucket_of(uri).uri
    except SourceError as error:
        raise ValueError(str(error)) from error


class HubToken(OperatorModel):
    """The token that the hub is shown, in a Secret of the trainers' namespace."""

    secret: DnsSubdomain = Field(description="name of the Secret")
    key: str = Field("token", pattern=CONFIG_KEY, description="its key with the token")


class Hub(OperatorModel):
    """A Hugging Face hub, or a mirror that speaks as one."""

    endpoint: HttpUrl = Field("https://huggingface.co", description="its address")
    token: HubToken | None = Field(None, description="for what not everybody may read")


class ImportJobSettings(OperatorModel):
    """The Jobs are in the trainers' namespace; they reach the object store as trainers do, with rights of their own."""

    image: PinnedImage = Field(description="the service's image, with digest")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="when nodes ask the registry"
    )
    image_pull_secrets: tuple[DnsSubdomain, ...] = Field((), description="Secrets that the registry is entered with")
    service_account_name: DnsSubdomain = Field(
        "default", description="service account of the pods; its token is not mounted"
    )
    storage_secret: DnsSubdomain | None = Field(
        None,
        description="Secret with AWS's environment variables that reach the store and the buckets; else the account",
    )
    hub: Hub | None = Field(None, description="where hf:// is imported from; nowhere if unset")
    buckets: tuple[Annotated[str, AfterValidator(_bucket)], ...] = Field(
        (), description="s3://bucket/prefix below which base models may be imported"
    )
    largest_bytes: int = Field(LARGEST, ge=1, description="bytes of one base model's files")
    cpu: CpuQuantity = Field("1", description="cores")
    memory: ByteQuantity = Field("2Gi", description="memory")
    ephemeral_storage: ByteQuantity = Field("90Gi", description="disk: for the largest base model twice")
    node_selector: dict[LabelKey, LabelValue] = Field({}, description="labels of nodes that they may run on")
    deadline: timedelta = Field(
        timedelta(hours=6), ge=timedelta(minutes=1), le=timedelta(days=7), description="how long one may take"
    )
    finished_job_retention: timedelta = Field(
        timedelta(days=1), ge=timedelta(0), le=timedelta(days=30), description="how long Kubernetes keeps ended ones"
    )

    @property
    def allowed(self) -> ImportSettings:
        """What may be imported, as everything else sees it. The token stays in its Secret."""
        return ImportSettings(
            buckets=tuple(map(bucket_of, self.buckets)),
            hub_endpoint=self.hub.endpoint if self.hub is not None else None,
            largest=self.largest_bytes,
        )
