"""One create-only PUT to S3, over as many requests as it takes."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from store.local_files import CHUNK
from store.object_store import AlreadyExists
from store.s3_client import code_of, is_missing, is_unanswered, retrying

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

_EXISTS = frozenset({"PreconditionFailed", "412"})
_UPLOAD_GONE = frozenset({"NoSuchUpload"})

_PARTS_AT_ONCE = 4
"""Parts of one upload that are under way together; each is held in memory."""

_MAX_PARTS = 10_000
"""S3's limit, which makes the parts of the largest files larger."""

_UPLOADS = 3
"""How often an upload in parts begins anew because the store has dropped it (S3 asks for that after a conflict)."""


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
    _unanswered: bool = False
    """Whether an earlier attempt, by whatever way, may have been carried out."""
    _reading: threading.Lock = field(default_factory=threading.Lock, init=False)

    def at_once(self) -> None:
        """Sends the content in one request. Raises AlreadyExists, or the client's own errors."""

        def put() -> None:
            self.source.seek(0)
            self.client.put_object(Bucket=self.bucket, Key=self.key, Body=self.source, IfNoneMatch="*")

        self._settle(put)

    def in_parts(self, part_size: int) -> None:
        """Sends the content in parts of `part_size` bytes, and makes the object of them. Raises as `at_once` does.

        Some stores do not look at the condition of the completion (Ceph RGW 16), so the key is looked at just before too.
        There a writer that completes between our look and our completion is overwritten: `ObjectStore.put_new`.
        """
        part_size = max(part_size, -(-self._size() // _MAX_PARTS))
        self._check_absent()
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
            if not self._unanswered:
                self._check_absent()
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
        parts = -(-self._size() // part_size)
        with ThreadPoolExecutor(_PARTS_AT_ONCE, thread_name_prefix="upload") as threads:
            return list(threads.map(lambda index: self._send_part(upload, index, part_size), range(parts)))

    def _send_part(self, upload: str, index: int, part_size: int) -> CompletedPartTypeDef:
        with self._reading:
            self.source.seek(index * part_size)
            content = self.source.read(part_size)

        def send() -> str:
            return self.client.upload_part(
                Bucket=self.bucket, Key=self.key, UploadId=upload, PartNumber=index + 1, Body=content
            )["ETag"]

        return {"PartNumber": index + 1, "ETag": retrying(send)}

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

    def _size(self) -> int:
        return self.source.seek(0, io.SEEK_END)

    def _check_absent(self) -> None:
        try:
            retrying(self.client.head_object, Bucket=self.bucket, Key=self.key)
        except ClientError as error:
            if is_missing(error, self.client, self.bucket, self.key):
                return
            raise
        raise self._already_exists()

    def _is_ours(self) -> bool:
        """Whether the object that is there has our bytes."""
        try:
            body = self.client.get_object(Bucket=self.bucket, Key=self.key)["Body"]
        except ClientError as error:
            if is_missing(error, self.client, self.bucket, self.key):
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
