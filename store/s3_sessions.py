"""Sessions with less rights than our own: STS AssumeRole with an inline policy, from AWS or a store that speaks its language."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from store.object_store import ObjectStore, StoreUnavailable
from store.s3 import S3Store
from store.s3_client import make_client
from store.uris import decoded

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class SessionKeys:
    """The credentials of one session. Only the id is ever shown."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expire_time: datetime
    """UTC; from then on the store refuses them."""

    def store(self, uri: str) -> ObjectStore:
        """The store at `s3://bucket/prefix/` with this session's rights alone."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        return S3Store(bucket, decoded(prefix), make_client(keys=self))


class SessionIssuer:
    """Opens sessions of one role. Thread-safe."""

    def __init__(self, role_arn: str, client: STSClient | None = None) -> None:
        """By default the client is configured by AWS's environment variables: AWS_ENDPOINT_URL_STS and so on.

        Raises StoreUnavailable if they do not suffice.
        """
        self._role_arn = role_arn
        try:
            self._client = client or _sts_client()
        except BotoCoreError as error:
            raise StoreUnavailable(f"no session of {role_arn} can be opened: {error}") from error

    def open(self, name: str, policy: str, lifetime: timedelta) -> SessionKeys:
        """A session that may do what both the role and `policy` (IAM JSON) allow. Raises StoreUnavailable.

        `name`, 2 to 64 letters, digits and `=,.@-`, stands in the store's own audit log.
        """
        try:
            answer = self._client.assume_role(
                RoleArn=self._role_arn,
                RoleSessionName=name,
                Policy=policy,
                DurationSeconds=round(lifetime.total_seconds()),
            )
        except (ClientError, BotoCoreError) as error:
            raise StoreUnavailable(
                f"no session of {self._role_arn} could be opened at {self._client.meta.endpoint_url}: {error}; "
                "the store must have STS, and let the service assume that role"
            ) from error
        keys = answer["Credentials"]
        return SessionKeys(
            keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], keys["Expiration"].astimezone(UTC)
        )


def _sts_client() -> STSClient:
    """Opening a session twice does no harm, so that retries can be left to botocore."""
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"total_max_attempts": 4, "mode": "standard"},
        parameter_validation=False,  # botocore insists on AWS's own bounds of a lifetime; other stores have others
    )
    return boto3.Session().client("sts", config=config)
