"""The S3 servers as those see them who store something there."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass

from deploy.cluster import processes
from deploy.cluster.errors import ClusterError
from deploy.cluster.paths import STATE

BUCKET = "loramill"
SERVICE_USER = "loramill-service"
REGION = "us-east-1"


@dataclass(frozen=True)
class Keys:
    """An access key of a user."""

    access_key_id: str
    secret_access_key: str


@dataclass(frozen=True)
class Store:
    """A server, its bucket, and the keys of two users: of one who administers it, and of one whom the service is."""

    name: str
    endpoint: str
    tls_endpoint: str
    """Its certificate is signed by the cluster's own authority, which no machine trusts unasked."""

    administrator: Keys
    service: Keys
    role_arn: str | None
    """The role whose sessions trainers get; none where the server knows no sessions."""

    bucket: str = BUCKET

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/"

    @property
    def environment(self) -> dict[str, str]:
        """What a process of the service needs in its environment, to reach the server without TLS."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": self.service.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.service.secret_access_key,
        }

    def described(self) -> dict[str, object]:
        """For cluster.json: how the service's user reaches it without TLS."""
        keys = asdict(self.service)
        return {"endpoint": self.endpoint, "region": REGION, "role_arn": self.role_arn, **keys}


def keys_of(store: str, user: str) -> Keys:
    """The user's key at a server; drawn when it is first asked for, and the same for as long as the cluster lives."""
    path = STATE / "keys" / f"{store}-{user}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        path.write_text(json.dumps(asdict(Keys(secrets.token_hex(10).upper(), secrets.token_hex(20)))))
    return Keys(**json.loads(path.read_text()))


def retried(act: Callable[[], object], seconds: float, what: str, process: processes.Process) -> None:
    """Does it again until it succeeds: a server that has just begun to answer may still refuse.

    Raises:
        ClusterError: it failed until the time was over; with the last failure.
    """
    failures: list[ClusterError] = []

    def succeeds() -> bool:
        try:
            act()
        except ClusterError as failure:
            failures[:] = [failure]
            return False
        return True

    try:
        processes.wait_until(succeeds, seconds, what, process)
    except ClusterError as late:
        raise ClusterError("\n".join(map(str, [late, *failures]))) from None
