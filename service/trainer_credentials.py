"""The object store's credentials of one launch: files for its pod, and when they have to be replaced.

The files are what every AWS SDK understands: `config` has a `credential_process` that prints `credentials.json`. So a
trainer takes up refreshed credentials by itself, and needs nothing from us but the file in its place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from loramill import v1
from service.credential_settings import AssumedRole, StaticKey, TrainerCredentialSettings, WorkloadIdentity
from service.trainer_grants import Grants, grants_of, session_policy
from store.object_store import StoreUnavailable
from store.uris import decoded

if TYPE_CHECKING:
    from store.s3_sessions import SessionIssuer, SessionKeys

CREDENTIALS_FOLDER = "/var/run/loramill/credentials"
"""Where a trainer's pod finds the files."""

_CREDENTIALS, _CONFIG, _CA_BUNDLE = "credentials.json", "config", "ca.pem"
_PASSED_ON = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION")
"""Variables of the service that say where the store is; trainers get the same."""


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

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables of every trainer's container that say where the store and the files are; nothing secret."""
        ...

    @property
    def service_account(self) -> str | None:
        """The service account that trainers' pods need; None for one without any rights."""
        ...

    def issue(self, tenant: str, job: str, number: int, assignment: v1.Assignment) -> TrainerCredentials:
        """Credentials for launch `number` of the job.

        Raises StoreUnavailable if the store or the key file gives none now, ValueError for an assignment that must not be
        granted.
        """
        ...


def credential_source(
    settings: TrainerCredentialSettings, store_uri: str, environ: Mapping[str, str] = os.environ
) -> CredentialSource:
    """The source that the operator chose, for the store at `s3://bucket/prefix/`. Raises StoreUnavailable.

    `environ` is where AWS's own variables say how the service reaches the store.
    """
    place = StorePlace(environ)
    match settings:
        case AssumedRole():
            from store.s3_sessions import SessionIssuer  # here, because boto3 takes a while to import

            return RoleSessions(settings, store_uri, SessionIssuer(settings.role_arn), place)
        case WorkloadIdentity():
            return PodIdentity(settings.service_account, place)
        case StaticKey():
            return SharedKey(settings.key_file, place)


def is_refresh_due(expire_time: datetime, lifetime: timedelta, now: datetime) -> bool:
    """Whether credentials have to be replaced now: less than a third of their lifetime is left."""
    return expire_time - now < lifetime / 3


class StorePlace:
    """Where the store is and whom to trust there, as AWS's variables tell the service; trainers are told the same."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._variables = {name: environ[name] for name in _PASSED_ON if name in environ}
        self._ca_bundle = environ.get("AWS_CA_BUNDLE")

    def environment(self, *, with_config: bool) -> Mapping[str, str]:
        variables = dict(self._variables)
        if self._ca_bundle:
            variables["AWS_CA_BUNDLE"] = f"{CREDENTIALS_FOLDER}/{_CA_BUNDLE}"
        if with_config:
            variables["AWS_CONFIG_FILE"] = f"{CREDENTIALS_FOLDER}/{_CONFIG}"
        return variables

    def files(self) -> Mapping[str, bytes]:
        """Raises StoreUnavailable if the certificates cannot be read."""
        if not self._ca_bundle:
            return {}
        try:
            return {_CA_BUNDLE: Path(self._ca_bundle).read_bytes()}
        except OSError as error:
            raise StoreUnavailable(f"AWS_CA_BUNDLE {self._ca_bundle} cannot be read: {error.strerror}") from error


class RoleSessions:
    """A session of its own for every launch, by STS AssumeRole, limited to the launch's grants."""

    service_account: str | None = None

    def __init__(self, settings: AssumedRole, store_uri: str, issuer: SessionIssuer, place: StorePlace) -> None:
        self._settings = settings
        self._store_uri = store_uri
        self._issuer = issuer
        self._place = place

    @property
    def lifetime(self) -> timedelta | None:
        return self._settings.lifetime

    @property
    def environment(self) -> Mapping[str, str]:
        return self._place.environment(with_config=True)

    def issue(self, tenant: str, job: str, number: int, assignment: v1.Assignment) -> TrainerCredentials:
        grants = grants_of(self._store_uri, tenant, job, number, assignment)
        keys = self.session(f"loramill-{job}-{number}", grants)
        return TrainerCredentials({**_files(_document(keys)), **self._place.files()}, keys.expire_time)

    def session(self, name: str, grants: Grants) -> SessionKeys:
        """A session with these grants. Raises as `issue` does."""
        bucket, _, root = self._store_uri.removeprefix("s3://").partition("/")
        partition = self._settings.role_arn.split(":")[1]
        policy = session_policy(grants, bucket, decoded(root), partition)
        return self._issuer.open(name, policy, self._settings.lifetime)


class PodIdentity:
    """Pods have the cloud role of their service account: all trainers have the same rights."""

    lifetime: timedelta | None = None

    def __init__(self, service_account: str, place: StorePlace) -> None:
        self._place = place
        self.service_account: str | None = service_account

    @property
    def environment(self) -> Mapping[str, str]:
        return self._place.environment(with_config=False)

    def issue(self, tenant: str, job: str, number: int, assignment: v1.Assignment) -> TrainerCredentials:  # noqa: ARG002
        return TrainerCredentials(self._place.files(), None)


class SharedKey:
    """One key pair for all trainers, read anew for every launch."""

    lifetime: timedelta | None = None
    service_account: str | None = None

    def __init__(self, key_file: Path, place: StorePlace) -> None:
        """Raises StoreUnavailable if the file holds no key pair."""
        self._key_file = key_file
        self._place = place
        self._document()

    @property
    def environment(self) -> Mapping[str, str]:
        return self._place.environment(with_config=True)

    def issue(self, tenant: str, job: str, number: int, assignment: v1.Assignment) -> TrainerCredentials:  # noqa: ARG002
        return TrainerCredentials({**_files(self._document()), **self._place.files()}, None)

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
    return {_CREDENTIALS: json.dumps(document).encode(), _CONFIG: config.encode()}
