"""One create-only PUT to S3, over as many requests as it takes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

import stamina
from botocore.exceptions import BotoCoreError, ClientError

from store.local_files import CHUNK
from store.object_store import AlreadyExists
from store.s3_client import code_of, is_transient, is_unanswered

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

_EXISTS = frozenset({"PreconditionFailed", "412"})
_UPLOAD_GONE = frozenset({"NoSuchUpload"})

_MAX_PARTS = 10_000
"""S3's limit, which makes the parts of the largest files larger."""

_UPLOADS = 3
"""How often an upload in parts begins anew because the store has dropped it (S3 asks for that after a conflict)."""

retrying = stamina.RetryingCaller(attempts=10, timeout=90.0, wait_initial=0.1, wait_max=5.0, wait_jitter=0.5).on(
    is_transient
)
"""Sends a request again after errors that may pass, with growing, jittered pauses.

Each retry is logged with the arguments of what is retried: contents must not be among them.
"""


@dataclass
class Creation:
    """The making of one object with the bytes of `source`, for one use.

    A request that got no answer may have been carried out. Only then can an object that is found there be our own, and
    only then is it compared: otherwise another writer's is never taken for ours because it happens to be equal.
    """

    client: S3Client
    bucket: str
    key: str
    uri: str
    source: BinaryIO
    _unanswered: bool = field(default=False, init=False)

    def at_once(self) -> None:
        """Sends the content in one request. Raises AlreadyExists, or the client's own errors."""

        def put() -> None:
            self.source.seek(0)
            self.client.put_object(Bucket=self.bucket, Key=self.key, Body=self.source, IfNoneMatch="*")

        self._settle(put)

    def in_parts(self, part_size: int) -> None:
        """Sends the content in parts of `part_size` bytes, and makes the object of them. Raises as `at_once` does."""
        size = self.source.seek(0, io.SEEK_END)
        part_size = max(part_size, -(-size // _MAX_PARTS))
        if self._exists():
            raise self._already_exists()
        for _ in range(_UPLOADS - 1):
            try:
                self._upload(part_size)
                return
            except ClientError as error:
                if code_of(error) not in _UPLOAD_GONE:
                    raise
        self._upload(part_size)

    def _upload(self, part_size: int) -> None:
        with self._started() as upload:
            parts = self._send_parts(upload, part_size)
            self._settle(
                lambda: self.client.complete_multipart_upload(
                    Bucket=self.bucket,
                    Key=self.key,
                    UploadId=upload,
                    MultipartUpload={"Parts": parts},
                    IfNoneMatch="*",
                )
            )

    @contextlib.contextmanager
    def _started(self) -> Iterator[str]:
        """An upload in parts, taken back if it is not completed."""
        upload = retrying(self.client.create_multipart_upload, Bucket=self.bucket, Key=self.key)["UploadId"]
        try:
            yield upload
        except BaseException:
            with contextlib.suppress(ClientError, BotoCoreError):
                self.client.abort_multipart_upload(Bucket=self.bucket, Key=self.key, UploadId=upload)
            raise

    def _send_parts(self, upload: str, part_size: int) -> list[CompletedPartTypeDef]:
        self.source.seek(0)
        parts: list[CompletedPartTypeDef] = []
        while chunk := self.source.read(part_size):
            parts.append(retrying(self._send_part, upload, len(parts) + 1, io.BytesIO(chunk)))
        return parts

    def _send_part(self, upload: str, number: int, content: BinaryIO) -> CompletedPartTypeDef:
        content.seek(0)
        sent = self.client.upload_part(
            Bucket=self.bucket, Key=self.key, UploadId=upload, PartNumber=number, Body=content
        )
        return {"PartNumber": number, "ETag": sent["ETag"]}

    def _settle(self, request: Callable[[], object]) -> None:
        retrying(self._attempt, request)

    def _attempt(self, request: Callable[[], object]) -> None:
        try:
            request()
        except (ClientError, BotoCoreError) as error:
            code = code_of(error)
            if code in _EXISTS | _UPLOAD_GONE and self._unanswered and self._is_ours():
                return
            if code in _EXISTS:
                raise self._already_exists() from None
            self._unanswered = self._unanswered or is_unanswered(error)
            raise

    def _exists(self) -> bool:
        try:
            retrying(self.client.head_object, Bucket=self.bucket, Key=self.key)
        except ClientError as error:
            if code_of(error) in ("404", "NoSuchKey"):
                return False
            raise
        return True

    def _is_ours(self) -> bool:
        """Whether the object that is there has our bytes."""
        try:
            body = self.client.get_object(Bucket=self.bucket, Key=self.key)["Body"]
        except ClientError as error:
            if code_of(error) == "NoSuchKey":
                return False
            raise
        with contextlib.closing(body):
            self.source.seek(0)
            while True:
                ours, theirs = self.source.read(CHUNK), body.read(CHUNK)
                if ours != theirs:
                    return False
                if not ours:
                    return True

    def _already_exists(self) -> AlreadyExists:
        return AlreadyExists(f"{self.uri} exists already; it was not changed")
