"""One object of S3 into a local file: many ranges at once, each retried by itself, all of the same object."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from botocore.exceptions import ClientError

from store.local_files import CHUNK
from store.object_store import StoreUnavailable
from store.s3_client import code_of, retrying

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

RANGES_AT_ONCE = 8
"""Ranges of one object that are under way together; of each, CHUNK bytes are held in memory."""


@dataclass(frozen=True)
class _Version:
    """Which content of a key an answer was read from. Objects are written once, but no store can be made to promise it."""

    etag: str
    size: int
    """Bytes."""


@dataclass(frozen=True)
class Fetching:
    """The reading of one object, in ranges of `range_size` bytes; `uri` names it in errors."""

    client: S3Client
    bucket: str
    key: str
    uri: str
    range_size: int

    def into(self, target: BinaryIO) -> None:
        """Fills an empty file. Raises the client's own errors, and StoreUnavailable if the object changes meanwhile."""
        try:
            version = retrying(self._copy, target.fileno(), 0)
        except ClientError as error:
            if code_of(error) == "InvalidRange":  # it is empty, and has no first byte
                return
            raise
        rest = range(self.range_size, version.size, self.range_size)
        with ThreadPoolExecutor(RANGES_AT_ONCE, thread_name_prefix="fetch") as threads:
            for other in threads.map(lambda start: retrying(self._copy, target.fileno(), start), rest):
                if other != version:
                    raise StoreUnavailable(f"{self.uri} was replaced while it was fetched; fetch it again")

    def _copy(self, file: int, start: int) -> _Version:
        """Copies one range to its place in the file."""
        span = f"bytes={start}-{start + self.range_size - 1}"
        answer = self.client.get_object(Bucket=self.bucket, Key=self.key, Range=span)
        with contextlib.closing(answer["Body"]) as body:
            while chunk := body.read(CHUNK):
                os.pwrite(file, chunk, start)
                start += len(chunk)
        return _version(answer)


def _version(answer: GetObjectOutputTypeDef) -> _Version:
    return _Version(answer["ETag"], int(answer["ContentRange"].rpartition("/")[2]))
