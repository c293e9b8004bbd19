"""The S3 client that the store uses: its addresses, timeouts, checksums; and what its errors mean."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

import boto3
import stamina
from botocore import exceptions as boto_errors
from botocore.config import Config
from botocore.session import get_session
from botocore.utils import parse_timestamp

from store.object_store import AccessRefused, NotFound, StoreError, StoreUnavailable, UnsuitableStore
from store.patience import patience

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from store.s3_sessions import SessionKeys

P = ParamSpec("P")
T = TypeVar("T")

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0
"""Silence after which a request counts as unanswered, in seconds."""

CONNECTIONS = 64
"""Connections kept open at most: the threads of a service that use the store at once."""

_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws")

_CONFLICTS = frozenset({"ConditionalRequestConflict", "OperationAborted"})
"""Another request for the same key is under way, and ours was not carried out: ask again."""

_BUSY = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "TooManyRequestsException"})

_MISSING = frozenset({"NoSuchKey", "NotFound", "404"})
"""HEAD has no body to tell a missing bucket from a missing key; `store.probe` finds a missing bucket at start-up."""

_REFUSED = frozenset({"AccessDenied", "403"})

_REMEDIES = {
    "NoSuchBucket": "create the bucket, or correct its name",
    "AccessDenied": "grant these credentials the reading, writing, listing and deleting of objects below this address",
    "403": "grant these credentials the reading, writing, listing and deleting of objects below this address",
    "InvalidAccessKeyId": "correct AWS_ACCESS_KEY_ID or the credentials file",
    "SignatureDoesNotMatch": "correct AWS_SECRET_ACCESS_KEY or the credentials file",
    "ExpiredToken": "renew the credentials",
    "PermanentRedirect": "set AWS_DEFAULT_REGION to the bucket's region",
}

_WITHOUT_KEYS = (
    boto_errors.NoCredentialsError,
    boto_errors.PartialCredentialsError,
    boto_errors.CredentialRetrievalError,
)
_GIVE_KEYS = "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or correct the file that AWS_CONFIG_FILE names"


def make_client(
    endpoint_url: str | None = None,
    ca_bundle: str | None = None,
    path_style: bool = False,
    keys: SessionKeys | None = None,
) -> S3Client:
    """A client with a session of its own, safe to use from many threads.

    What is None is taken from AWS's environment variables and files: AWS_ENDPOINT_URL_S3, AWS_CA_BUNDLE and so on. (The
    region's name there is AWS_DEFAULT_REGION; boto3 does not look at AWS_REGION.) Buckets are addressed in the path if
    `path_style`; away from AWS boto3 does so anyway. Requests carry the checksums that boto3 adds since 1.36 to AWS only:
    many other stores refuse them (boto3 #4392), and records carry their own.
    Retries are left to the store, which has to know of every one of them.
    """
    core = get_session()
    core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
    session = boto3.Session(
        keys.access_key_id if keys is not None else None,
        keys.secret_access_key if keys is not None else None,
        keys.session_token if keys is not None else None,
        botocore_session=core,
    )

    def client(config: Config) -> S3Client:
        return session.client("s3", endpoint_url=endpoint_url, verify=ca_bundle, config=config)

    config = Config(
        signature_version="s3v4",  # of presigned URLs too, for which boto3 still prefers the version before
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=CONNECTIONS,
    )
    if not _is_aws(client(config).meta.endpoint_url):
        config = config.merge(
            Config(request_checksum_calculation="when_required", response_checksum_validation="when_required")
        )
    return client(config.merge(Config(s3={"addressing_style": "path" if path_style else "auto"})))


def _timestamp(value: Any) -> datetime:
    """A time of an answer. Listings have one for every object, and more than half of their time goes into botocore's own way."""
    with contextlib.suppress(ValueError, TypeError):
        told = datetime.fromisoformat(value)
        if told.tzinfo is not None:
            return told
    return parse_timestamp(value)


def _is_aws(endpoint_url: str) -> bool:
    return (urlsplit(endpoint_url).hostname or "").endswith(_AWS_DOMAINS)


def code_of(error: Exception) -> str:
    """S3's own word for the error, such as `NoSuchKey`; empty if the store did not answer."""
    return error.response.get("Error", {}).get("Code", "") if isinstance(error, boto_errors.ClientError) else ""


def is_transient(error: Exception) -> bool:
    """Whether asking again may help."""
    return is_unanswered(error) or code_of(error) in _CONFLICTS | _BUSY or _has_no_credentials(error)


def _has_no_credentials(error: Exception) -> bool:
    """Whether credentials that are renewed by somebody else are out of date: botocore has no class of its own for that."""
    outdated = type(error) is RuntimeError and "credentials are still expired" in str(error)
    return outdated or isinstance(error, boto_errors.CredentialRetrievalError)


def is_unanswered(error: Exception) -> bool:
    """Whether the request may have been carried out, now or later, without our hearing of it."""
    if isinstance(error, boto_errors.ClientError):
        return _status_of(error) >= 500 and not _is_unsupported(error)
    lost = (boto_errors.HTTPClientError, boto_errors.ConnectionError, boto_errors.IncompleteReadError)
    return isinstance(error, lost) and not isinstance(error, boto_errors.SSLError)


def retrying(request: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Sends a request again after errors that may pass, with growing, jittered pauses, for as long as `store.patience` says.

    Each retry is logged with the arguments of what is retried: contents must not be among them.
    """
    allowed = patience()
    caller = stamina.RetryingCaller(
        attempts=allowed.attempts, timeout=allowed.seconds, wait_initial=0.1, wait_max=5.0, wait_jitter=0.5
    )
    return caller(is_transient, request, *arguments, **options)


def is_missing(error: Exception, client: S3Client, bucket: str, key: str) -> bool:
    """Whether the error about an object says that there is none.

    A store may answer "refused" about what is missing to whoever may not list the whole bucket (AWS, "GetObject",
    Permissions), as trainers may not. They may list their own folders, and so learn which of the two it was.
    """
    if code_of(error) in _MISSING:
        return True
    if code_of(error) not in _REFUSED:
        return False
    try:
        page = retrying(client.list_objects_v2, Bucket=bucket, Prefix=key, MaxKeys=1)
    except boto_errors.ClientError:
        return False
    return all(found["Key"] != key for found in page.get("Contents", ()))


@contextlib.contextmanager
def reported(uri: str) -> Iterator[None]:
    """Turns errors of the client into those of the store, naming `uri`."""
    try:
        yield
    except (boto_errors.ClientError, boto_errors.BotoCoreError) as error:
        raise _translated(error, uri) from error
    except RuntimeError as error:
        if not _has_no_credentials(error):
            raise
        raise StoreUnavailable(f"{uri} could not be used: the credentials have expired and were not renewed") from error


def _translated(error: boto_errors.ClientError | boto_errors.BotoCoreError, uri: str) -> StoreError:
    code = code_of(error)
    if code in _MISSING:
        return NotFound(f"{uri} does not exist")
    if isinstance(error, boto_errors.ClientError) and _is_unsupported(error):
        return UnsuitableStore(f"{uri} lies in a store that does not support what was asked of it: {error}")
    remedy = _REMEDIES.get(code, "")
    if isinstance(error, _WITHOUT_KEYS):
        remedy = _GIVE_KEYS
    elif isinstance(error, boto_errors.SSLError):
        remedy = "set AWS_CA_BUNDLE to the certificates of the authority that has signed the store's"
    kind = AccessRefused if code in _REFUSED else StoreUnavailable
    return kind(f"{uri} could not be used: {error}{'; ' * bool(remedy)}{remedy}")


def _status_of(error: boto_errors.ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _is_unsupported(error: boto_errors.ClientError) -> bool:
    return code_of(error) in ("NotImplemented", "501") or _status_of(error) == 501
