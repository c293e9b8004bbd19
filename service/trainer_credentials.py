"""The object store's credentials of one launch: files for its pod, and when they have to be replaced.

The files are what every AWS SDK understands: `config` has a `credential_process` that prints `credentials.json`. So a
trainer takes up refreshed credentials by itself, and needs nothing from us but the file in its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from loramill import v1
from service.credential_probe import probe_sessions
from service.credential_settings import AssumedRole, StaticKey, TrainerCredentialSettings, WorkloadIdentity
from service.pod_manifest import CREDENTIALS_CONFIG, CREDENTIALS_FOLDER
from service.trainer_grants import Grants, grants_of, largest_grants, session_policy
from store.object_store import ObjectStore, StoreUnavailable, UnsuitableStore
from store.uris import decoded

if TYPE_CHECKING:
    from store.s3_sessions import SessionIssuer, SessionKeys

_CREDENTIALS = "credentials.json"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class TrainerCredentials:
    """What a launch's Secret holds."""

    files: Mapping[str, bytes] = field(repr=False)
    """By name; none where the pod has its rights from elsewhere, and no Secret is needed."""
    expire_time: datetime | None
    """When the store begins to refuse them; None if it never does."""


class CredentialSource(Protocol):
    """Where trainers' credentials come from. Thread-safe."""

    @property
    def lifetime(self) -> timedelta | None:
        """Of what is issued; None where nothing expires. Replace credentials when less than a third of it is left."""
        ...

    def issue(self, tenant: str, job: str, number: int, assignment: v1.Assignment) -> TrainerCredentials:
        """Credentials for launch `number` of the job.

        Raises StoreUnavailable if the store or the key file gives none now, ValueError for an assignment that must not be
        granted.
        """
        ...

    def check(self, store: ObjectStore, tenants: Iterable[str]) -> None:
        """Finds out, when the service starts, whether these tenants' trainers get the rights that they are meant to have.

        Raises UnsuitableStore, StoreUnavailable.
        """
        ...


def credential_source(settings: TrainerCredentialSettings, store_uri: str) -> CredentialSource:
    """The source that the operator chose, for the store at `s3://bucket/prefix/`. Raises StoreUnavailable."""
    match settings:
        case AssumedRole():
            from store.s3_sessions import SessionIssuer  # here, because boto3 takes a while to import

            return RoleSessions(settings, store_uri, SessionIssuer(settings.role_arn))
        case WorkloadIdentity():
            return PodIdentity()
        case StaticKey():
            return SharedKey(settings.key_file)


def is_refresh_due(expire_time: datetime, lifetime: timedelta, now: datetime) -> bool:
    """Whether credentials have to be replaced now: less than a third of their lifetime is left."""
    return expire_time - now < lifetime / 3


class RoleSessions:
    """A session of its own for every launch, by STS AssumeRole, limited to the launch's grants."""

    def __init__(self, settings: AssumedRole, store_uri: str, issuer: SessionIssuer) -> None:
        self._settings = settings
        self._store_uri = store_uri
        self._issuer = issuer

    @property
    def lifetime(self) -> timedelta | None:
        return self._settings.lifetime

    def issue(self, tenant: str, job: str, number: int, assignment: v1.Assignment) -> TrainerCredentials:
        grants = grants_of(self._store_uri, tenant, job, number, assignment)
        keys = self._session(f"loramill-{job}-{number}", grants)
        return TrainerCredentials(_files(_document(keys)), keys.expire_time)

    def check(self, store: ObjectStore, tenants: Iterable[str]) -> None:
        try:
            for tenant in tenants:
                session_policy(largest_grants(self._store_uri, tenant), *self._place())
        except ValueError as error:
            raise UnsuitableStore(f"{self._store_uri} cannot be granted to trainers: {error}") from error
        probe_sessions(lambda grants: self._session("loramill-probe", grants).store(self._store_uri), store)

    def _session(self, name: str, grants: Grants) -> SessionKeys:
        return self._issuer.open(name, session_policy(grants, *self._place()), self._settings.lifetime)

    def _place(self) -> tuple[str, str, str]:
        """Bucket, folder in it, and partition of the cloud, as `session_policy` takes them."""
        bucket, _, root = self._store_uri.removeprefix("s3://").partition("/")
        return bucket, decoded(root), self._settings.role_arn.split(":")[1]


class PodIdentity:
    """Pods have the cloud role of their service account: all trainers have the same rights."""

    lifetime: timedelta | None = None

    def issue(self, tenant: str, job: str, number: int, assignment: v1.Assignment) -> TrainerCredentials:  # noqa: ARG002
        return TrainerCredentials({}, None)

    def check(self, store: ObjectStore, tenants: Iterable[str]) -> None:  # noqa: ARG002
        _warn(store)


class SharedKey:
    """One key pair for all trainers, read anew for every launch."""

    lifetime: timedelta | None = None

    def __init__(self, key_file: Path) -> None:
        """Raises StoreUnavailable if the file holds no key pair."""
        self._key_file = key_file
        self._document()

    def issue(self, tenant: str, job: str, number: int, assignment: v1.Assignment) -> TrainerCredentials:  # noqa: ARG002
        return TrainerCredentials(_files(self._document()), None)

    def check(self, store: ObjectStore, tenants: Iterable[str]) -> None:  # noqa: ARG002
        _warn(store)

    def _document(self) -> dict[str, object]:
        try:
            pair = _KeyPair.model_validate_json(self._key_file.read_bytes())
        except OSError as error:
            raise StoreUnavailable(
                f"the trainers' key file {self._key_file} cannot be read: {error.strerror}"
            ) from error
        except ValidationError:
            raise StoreUnavailable(  # without its cause, which shows what was read
                f"the trainers' key file {self._key_file} must be JSON with Version 1, AccessKeyId and SecretAccessKey"
            ) from None
        return pair.model_dump()


def _warn(store: ObjectStore) -> None:
    log.warning("every trainer can read and write every tenant's objects, as was acknowledged", store=store.uri)


class _KeyPair(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    Version: int = 1
    AccessKeyId: str
    SecretAccessKey: str


def _document(keys: SessionKeys) -> dict[str, object]:
    """As AWS's credential_process prints it (AWS SDKs and Tools Reference Guide, "Process credential provider")."""
    return {
        "Version": 1,
        "AccessKeyId": keys.access_key_id,
        "SecretAccessKey": keys.secret_access_key,
        "SessionToken": keys.session_token,
        "Expiration": keys.expire_time.isoformat(),
    }


def _files(document: Mapping[str, object]) -> dict[str, bytes]:
    config = f"[default]\ncredential_process = cat {CREDENTIALS_FOLDER}/{_CREDENTIALS}\n"
    return {_CREDENTIALS: json.dumps(document).encode(), CREDENTIALS_CONFIG: config.encode()}
