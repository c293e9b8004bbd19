"""The object store in a bucket of S3, or of a store that speaks its language."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from store.key_rules import check_key, check_prefix, is_key
from store.local_files import replacing
from store.object_store import LARGE, LISTED_AT_ONCE, AlreadyExists, NotFound, ObjectInfo
from store.s3_addresses import S3Addresses
from store.s3_client import code_of, is_missing, make_client, reported, retrying
from store.s3_creation import Creation
from store.s3_fetching import Fetching
from store.s3_lifecycle import rules_that_take_away
from store.s3_requests import Unclear, observe_requests
from store.s3_unfinished import abort_unfinished
from store.uris import encoded

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef, ListObjectsV2RequestTypeDef

    from store.lifecycle import LifecycleRule
    from store.s3_quick import Quick
    from store.s3_requests import RequestObserver


class S3Store:
    """A bucket, or the part of one below a prefix, as an object store.

    Creating is `If-None-Match: *` on the PUT, or on the completion of an upload in parts. Parts that a killed process
    left behind are invisible; `abort_unfinished`, or a lifecycle rule of the bucket, removes them.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        client: S3Client | None = None,
        part_size: int = LARGE,
        observer: RequestObserver | None = None,
        *,
        quick: bool = False,
    ) -> None:
        """`client` comes from `s3_client.make_client`; by default it is configured by AWS's environment variables.

        What is larger than `part_size` bytes is sent, and fetched, in parts of that size, several at once. `observer` hears
        of each request. `quick`: whole small objects go over obstore (`store.s3_quick`), for whoever sends many of them.
        """
        prefix = prefix.strip("/")
        if prefix:
            check_key(prefix)
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._client = client or make_client()
        if observer is not None:
            observe_requests(self._client, observer)
        self._part_size = part_size
        self._quick = _quick(self._client, bucket, observer) if quick else None

    def __repr__(self) -> str:
        return f"S3Store({self.uri!r})"

    @property
    def uri(self) -> str:
        return self._name("")

    def put_new(self, key: str, content: bytes | Path) -> None:
        full_key, unanswered = self._full(key), False
        if self._quick is not None and isinstance(content, bytes) and self._quick.takes(full_key):
            try:
                if self._quick.create(full_key, content):
                    return
                raise AlreadyExists(f"{self._name(key)} exists already; it was not changed")
            except Unclear as unclear:
                unanswered = unclear.unanswered
        with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
            size = source.seek(0, io.SEEK_END)
            creation = Creation(self._client, self._bucket, full_key, self._name(key), source, unanswered)
            with reported(self._name(key)):
                if size > self._part_size:
                    creation.in_parts(self._part_size)
                else:
                    creation.at_once()

    def put_status(self, key: str, content: bytes) -> None:
        full_key = self._full(key)
        if self._quick is not None and self._quick.takes(full_key):
            with contextlib.suppress(Unclear):
                self._quick.put(full_key, content)
                return

        def put() -> None:
            self._client.put_object(Bucket=self._bucket, Key=full_key, Body=content)

        with reported(self._name(key)):
            retrying(put)

    def get(self, key: str) -> bytes:
        full_key = self._full(key)
        if self._quick is not None and self._quick.takes(full_key):
            with contextlib.suppress(Unclear):
                content = self._quick.get(full_key)
                if content is None:
                    raise NotFound(f"{self._name(key)} does not exist")
                return content

        def read() -> bytes:
            with contextlib.closing(self._client.get_object(Bucket=self._bucket, Key=full_key)["Body"]) as body:
                return body.read()

        with self._reading(key):
            return retrying(read)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        if length <= 0:
            self.info(key)  # for NotFound: HTTP has no range of no bytes
            return b""
        full_key, span = self._full(key), f"bytes={start}-{start + length - 1}"

        def read() -> bytes:
            answer = self._client.get_object(Bucket=self._bucket, Key=full_key, Range=span)
            with contextlib.closing(answer["Body"]) as body:
                return body.read()

        with self._reading(key):
            try:
                return retrying(read)
            except ClientError as error:
                if code_of(error) == "InvalidRange":  # it begins at the end of the object, or behind it
                    return b""
                raise

    def info(self, key: str) -> ObjectInfo:
        full_key = self._full(key)
        with self._reading(key):
            head = retrying(self._client.head_object, Bucket=self._bucket, Key=full_key)
        return ObjectInfo(key, head["ContentLength"], _told_by_all(head["LastModified"]))

    def fetch(self, key: str, path: Path) -> None:
        full_key = self._full(key)
        with self._reading(key), replacing(path) as target:
            Fetching(self._client, self._bucket, full_key, self._name(key), self._part_size).into(target)

    def list(self, prefix: str = "", after: str = "", at_once: int = LISTED_AT_ONCE) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        return self._listed(prefix, after, at_once)

    def delete(self, key: str) -> None:
        full_key = self._full(key)
        with reported(self._name(key)):
            try:
                retrying(self._client.delete_object, Bucket=self._bucket, Key=full_key)
            except ClientError as error:
                # S3 never says so; versitygw does of what somebody else deletes in the same moment.
                if code_of(error) != "NoSuchKey":
                    raise

    def addresses(self, endpoint_url: str | None = None) -> S3Addresses:
        signer = make_client(endpoint_url) if endpoint_url is not None else self._client
        return S3Addresses(self._client, signer, self._bucket, self._full, self._name)

    def lifecycle_rules(self) -> Sequence[LifecycleRule]:
        with reported(self.uri):
            try:
                answer = retrying(self._client.get_bucket_lifecycle_configuration, Bucket=self._bucket)
            except ClientError as error:
                if code_of(error) == "NoSuchLifecycleConfiguration":
                    return []
                raise
        return rules_that_take_away(answer.get("Rules", []), self._prefix)

    def strays(self) -> Iterator[str]:
        """Names below the root that are no keys, which other programs gave; not their markers of empty folders."""
        for page in self._pages("", "", LISTED_AT_ONCE):
            for found in page.get("Contents", ()):
                name = found["Key"].removeprefix(self._prefix)
                if name and not name.endswith("/") and not is_key(name):
                    yield name

    def abort_unfinished(self, begun_before: datetime) -> int:
        with reported(self.uri):
            return abort_unfinished(self._client, self._bucket, self._prefix, begun_before)

    def _listed(self, prefix: str, after: str, at_once: int) -> Iterator[ObjectInfo]:
        # obstore always asks for as many as S3 tells.
        if self._quick is not None and at_once >= LISTED_AT_ONCE:
            full_prefix, full_after = self._prefix + prefix, self._prefix + after if after else ""
            if self._quick.takes_listing(full_prefix, full_after):
                with contextlib.suppress(Unclear):
                    for entry in itertools.chain.from_iterable(self._quick.pages(full_prefix, full_after)):
                        after = entry["path"].removeprefix(self._prefix)
                        if is_key(after):
                            yield ObjectInfo(after, entry["size"], _told_by_all(entry["last_modified"]))
                    return
        for page in self._pages(prefix, after, at_once):
            for found in page.get("Contents", ()):
                key = found["Key"].removeprefix(self._prefix)
                if is_key(key):  # other programs' markers of empty folders are not
                    yield ObjectInfo(key, found["Size"], _told_by_all(found["LastModified"]))

    def _pages(self, prefix: str, after: str, at_once: int) -> Iterator[ListObjectsV2OutputTypeDef]:
        request: ListObjectsV2RequestTypeDef = {
            "Bucket": self._bucket,
            "Prefix": self._prefix + prefix,
            "StartAfter": self._prefix + after,
            "MaxKeys": min(at_once, LISTED_AT_ONCE),
        }
        while True:
            with reported(self._name(prefix)):
                page = retrying(lambda: self._client.list_objects_v2(**request))
            yield page
            if not page["IsTruncated"]:
                return
            request["ContinuationToken"] = page["NextContinuationToken"]
            request["MaxKeys"] = LISTED_AT_ONCE

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        """Errors of reading an object, as the store's own."""
        with reported(self._name(key)):
            try:
                yield
            except ClientError as error:
                if is_missing(error, self._client, self._bucket, self._prefix + key):
                    raise NotFound(f"{self._name(key)} does not exist") from error
                raise

    def _full(self, key: str) -> str:
        check_key(key)
        return self._prefix + key

    def _name(self, key: str) -> str:
        return f"s3://{self._bucket}/" + encoded(self._prefix + key)


def _quick(client: S3Client, bucket: str, observer: RequestObserver | None) -> Quick | None:
    """None where nobody has given credentials: boto3 then says what is missing."""
    from store.s3_quick import Quick  # here, because trainers have no use for it and do not install it

    try:
        return Quick(client, bucket, observer)
    except ValueError:
        return None


def _told_by_all(modified: datetime) -> datetime:
    """To the second: some servers list parts of it, but no header has them, and an object is to have one time."""
    return modified.replace(microsecond=0)
