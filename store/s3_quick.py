"""The plain requests of small objects, and whole listings, over obstore: far less of the processor's time than boto3 takes
(docs/scale.md).

It is used for what goes as it should. Whatever else comes is `Unclear`, and boto3 is asked then, which tells a conflict from
a loss, knows what a refusal means, and waits. (obstore calls 409, "ask again", and 412, "it exists", by one name.)
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import botocore.session
import obstore
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store as Connection

from store.object_store import LISTED_AT_ONCE
from store.s3_requests import NO_ANSWER, Unclear

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from obstore import ObjectMeta

    from store.s3_requests import RequestObserver

T = TypeVar("T")

_PLAIN_KEY = re.compile(r"[A-Za-z0-9._/-]+")
"""Keys that obstore sends as they are; it has its own mind of others."""
_STATUS = re.compile(r"status code: (\d{3})")
_NO_KEY = "<Code>NoSuchKey</Code>"
_EXISTS = "412"
_PAUSE_S = 10.0
"""Seconds after an unclear answer in which boto3 alone is asked: what goes wrong once goes wrong again."""
_CREDENTIALS_FOR = timedelta(minutes=6)
"""boto3 renews credentials ten minutes before they end, so that these never have."""


class Quick:
    """One bucket, reached with boto3's endpoint, region, credentials and CA bundle. Safe to use from many threads."""

    def __init__(self, client: S3Client, bucket: str, observer: RequestObserver | None = None) -> None:
        """Raises ValueError if there are no credentials to sign with."""
        session = botocore.session.get_session()
        options: dict[str, Any] = {"allow_http": True, "connect_timeout": "5s", "timeout": "60s"}
        if bundle := session.get_config_variable("ca_bundle"):
            options["root_certificate"] = Path(bundle).read_bytes()
        self._connection = Connection(
            bucket,
            endpoint=client.meta.endpoint_url,
            region=client.meta.region_name,
            credential_provider=Boto3CredentialProvider(session, ttl=_CREDENTIALS_FOR),
            client_options=options,  # type: ignore[arg-type]
            retry_config={"max_retries": 0},
        )
        self._observer = observer
        self._lock = threading.Lock()
        self._paused_until = 0.0

    def takes(self, key: str) -> bool:
        """Whether it is worth asking now."""
        with self._lock:
            return time.monotonic() >= self._paused_until and _PLAIN_KEY.fullmatch(key) is not None

    def takes_listing(self, prefix: str, after: str) -> bool:
        """Whether it is worth asking now. obstore knows no prefix that ends within a name, and passes over a last slash."""
        return prefix.endswith("/") and self.takes(prefix) and (not after or (after[-1] != "/" and self.takes(after)))

    def get(self, key: str) -> bytes | None:
        """The content; None where there is none. Raises Unclear."""
        try:
            return self._asked("GetObject", lambda: obstore.get(self._connection, key).bytes().to_bytes())
        except FileNotFoundError:
            return None

    def create(self, key: str, content: bytes) -> bool:
        """Whether the object is ours now; False where another one was there. Raises Unclear."""
        try:
            self._asked("PutObject", lambda: obstore.put(self._connection, key, content, mode="create"))
        except AlreadyExistsError:
            return False
        return True

    def put(self, key: str, content: bytes) -> None:
        """Creates or replaces the object. Raises Unclear."""
        self._asked("PutObject", lambda: obstore.put(self._connection, key, content, use_multipart=False))

    def pages(self, prefix: str, after: str) -> Iterator[Sequence[ObjectMeta]]:
        """What is below `prefix` and sorts behind `after`, as many at a time as S3 tells. Raises Unclear.

        What has no bytes may be another program's marker of an empty folder, `folder/`, which obstore calls `folder`.
        """
        stream = obstore.list(self._connection, prefix, offset=after or None, chunk_size=LISTED_AT_ONCE)
        while page := self._asked("ListObjectsV2", lambda: next(stream, ())):
            if not all(found["size"] for found in page):
                raise Unclear(unanswered=False)
            yield page
            if len(page) < LISTED_AT_ONCE:
                return

    def _asked(self, operation: str, request: Callable[[], T]) -> T:
        """Raises FileNotFoundError and AlreadyExistsError where that is certain, else Unclear."""
        began, answer = time.perf_counter(), "200"
        try:
            return request()
        except (BaseError, OSError) as error:
            told = str(error)
            status = _STATUS.search(told)
            answer = status.group(1) if status is not None else NO_ANSWER
            if isinstance(error, FileNotFoundError) and _NO_KEY in told:
                raise
            if isinstance(error, AlreadyExistsError) and answer == _EXISTS:
                raise
            with self._lock:
                self._paused_until = time.monotonic() + _PAUSE_S
            raise Unclear(unanswered=answer == NO_ANSWER or answer >= "500") from error
        finally:
            if self._observer is not None:
                self._observer.answered(operation, answer, time.perf_counter() - began)
