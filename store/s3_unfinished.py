"""Gives up uploads in parts that nobody completes, where the bucket has no lifecycle rule that does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from store.s3_client import code_of, retrying

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import MultipartUploadTypeDef


def abort_unfinished(client: S3Client, bucket: str, prefix: str, begun_before: datetime) -> int:
    """How many there were. Raises the client's own errors. One that is completed just now is no error."""
    found = [upload for upload in _uploads(client, bucket, prefix) if upload["Initiated"] < begun_before]
    for upload in found:
        try:
            retrying(client.abort_multipart_upload, Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        except ClientError as error:
            if code_of(error) != "NoSuchUpload":
                raise
    return len(found)


def _uploads(client: S3Client, bucket: str, prefix: str) -> Iterator[MultipartUploadTypeDef]:
    key, upload = "", ""
    while True:
        page = retrying(
            client.list_multipart_uploads, Bucket=bucket, Prefix=prefix, KeyMarker=key, UploadIdMarker=upload
        )
        yield from page.get("Uploads", ())
        if not page.get("IsTruncated"):
            return
        key, upload = page["NextKeyMarker"], page["NextUploadIdMarker"]
