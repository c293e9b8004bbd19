"""The real S3 servers that `make cluster` runs, as tests find them."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import stamina

from store.s3_client import make_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAMES = ("versitygw", "ceph")


@dataclass(frozen=True)
class S3Server:
    name: str
    endpoint: str
    region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    role_arn: str | None = None
    """A role that trainers' sessions can be of; None where the server has no session policies."""

    @property
    def environment(self) -> dict[str, str]:
        """What AWS's own variables say to whoever uses this server as the service does."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
        }


@dataclass(frozen=True)
class TlsServer:
    """The same server with TLS; its certificates are of an authority that no machine knows."""

    endpoint: str
    ca: str
    """File with the authority's certificate."""


@cache
def server(name: str) -> S3Server:
    """Raises FileNotFoundError where no cluster is up."""
    return S3Server(name=name, **_description()["s3"][name])


def tls_server(name: str) -> TlsServer:
    return TlsServer(**_description()["s3_tls"][name])


def _description() -> Any:
    return json.loads(Path(os.environ["LORAMILL_CLUSTER"]).read_text())


def new_bucket(client: S3Client) -> str:
    """An empty bucket. A Ceph that has just started may answer 500 to its first one."""
    name = f"test-{uuid.uuid4().hex}"
    for attempt in stamina.retry_context(on=client.exceptions.ClientError, attempts=5):
        with attempt:
            client.create_bucket(Bucket=name)
    return name


def remove_bucket(client: S3Client, bucket: str) -> None:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in page.get("Contents", ()):
            client.delete_object(Bucket=bucket, Key=found["Key"])
    client.delete_bucket(Bucket=bucket)


def client_of(server: S3Server, **options: Any) -> S3Client:
    """As the service makes it."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in server.environment.items():
            environment.setenv(name, value)
        return make_client(**options)
