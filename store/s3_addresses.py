"""Presigned URLs (AWS Signature Version 4, in the query) for the objects of one S3 store, and copies inside of it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from store.addresses import Address
from store.s3_client import reported, retrying

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class S3Addresses:
    """Signs with `signer`, whose endpoint stands in the URLs; copies with `client`."""

    client: S3Client
    signer: S3Client
    bucket: str
    full: Callable[[str], str]
    """The key in the bucket."""
    name: Callable[[str], str]
    """The URI, for errors."""

    def upload(self, key: str, size: int, sha256: str, lifetime: timedelta) -> Address:
        # Every parameter that becomes a header is signed, so that a request without it, or with another value, is refused.
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        expire_time = datetime.now(UTC) + lifetime
        url = self.signer.generate_presigned_url(
            "put_object",
            Params={
                "Bucket": self.bucket,
                "Key": self.full(key),
                "IfNoneMatch": "*",
                "ContentLength": size,
                "ChecksumSHA256": checksum,
            },
            ExpiresIn=_seconds(lifetime),
        )
        headers = {"If-None-Match": "*", "Content-Length": str(size), "x-amz-checksum-sha256": checksum}
        return Address(url, headers, expire_time)

    def download(self, key: str, file_name: str, lifetime: timedelta) -> Address:
        expire_time = datetime.now(UTC) + lifetime
        url = self.signer.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self.bucket,
                "Key": self.full(key),
                "ResponseContentDisposition": f"attachment; filename*=UTF-8''{quote(file_name, safe='')}",
                "ResponseContentType": "application/octet-stream",
            },
            ExpiresIn=_seconds(lifetime),
        )
        return Address(url, {}, expire_time)

    def copy(self, source: str, target: str) -> None:
        with reported(self.name(source)):
            retrying(
                lambda: self.client.copy_object(
                    Bucket=self.bucket,
                    Key=self.full(target),
                    CopySource={"Bucket": self.bucket, "Key": self.full(source)},
                    MetadataDirective="REPLACE",  # a sender may have said anything of the content's type
                )
            )


def _seconds(lifetime: timedelta) -> int:
    return int(lifetime.total_seconds())
