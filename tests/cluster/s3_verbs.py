"""Everything that can be asked of an object, a folder of objects, or a bucket, each with the right that it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import urllib3
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

READ, WRITE, DELETE, NEVER = "read", "write", "delete", "never"
FORBIDDEN = 403

http = urllib3.PoolManager(retries=False, timeout=30)


@dataclass(frozen=True)
class Target:
    """What a verb is tried on. The service's client prepares what the verb needs."""

    session: S3Client
    service: S3Client
    bucket: str
    folder: str
    """With `/` at its end."""
    own: str
    """A folder in which the session may read and write, with an object `source`."""

    @property
    def there(self) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": f"{self.folder}there"}

    @property
    def new(self) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": f"{self.folder}new"}

    @property
    def mine(self) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": f"{self.own}target"}

    @property
    def source(self) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": f"{self.own}source"}

    def prepare(self) -> None:
        """One object is there, and the other is not."""
        self.service.put_object(**self.there, Body=b"there")
        self.service.delete_object(**self.new)

    def is_untouched(self) -> bool:
        found = self.service.list_objects_v2(Bucket=self.bucket, Prefix=self.new["Key"])["KeyCount"]
        return not found and self.service.get_object(**self.there)["Body"].read() == b"there"

    def upload(self) -> dict[str, str]:
        """An upload in parts that the service has begun."""
        return {**self.new, "UploadId": self.service.create_multipart_upload(**self.new)["UploadId"]}

    def upload_with_part(self) -> tuple[dict[str, str], Any]:
        upload = self.upload()
        etag = self.service.upload_part(**upload, PartNumber=1, Body=b"part")["ETag"]  # type: ignore[arg-type]
        return upload, {"Parts": [{"PartNumber": 1, "ETag": etag}]}


def is_allowed(verb: Callable[[Target], object], target: Target) -> bool:
    """Whether the store let it happen. Whatever fails for another reason is raised."""
    try:
        verb(target)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == FORBIDDEN:
            return False
        raise
    return True


def _answered(method: str, url: str, **arguments: Any) -> None:
    answer = http.request(method, url, **arguments)
    if answer.status >= 300:
        code = {"Error": {"Code": str(answer.status)}, "ResponseMetadata": {"HTTPStatusCode": answer.status}}
        raise ClientError(code, method)  # type: ignore[arg-type]


def _presigned(operation: str, method: str, to: Callable[[Target], dict[str, str]]) -> Callable[[Target], None]:
    return lambda t: _answered(method, t.session.generate_presigned_url(operation, Params=to(t), ExpiresIn=60))


def _posted(t: Target) -> None:
    form = t.session.generate_presigned_post(t.bucket, t.new["Key"], ExpiresIn=60)
    _answered("POST", form["url"], fields={**form["fields"], "file": ("new", b"new")})


def _deleted_many(t: Target) -> None:
    answer = t.session.delete_objects(Bucket=t.bucket, Delete={"Objects": [{"Key": t.there["Key"]}]})
    for error in answer.get("Errors", ()):
        status = {"AccessDenied": FORBIDDEN}.get(error["Code"], 500)
        raise ClientError({"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}, "DeleteObjects")  # type: ignore[arg-type, typeddict-item]


def _completed(t: Target) -> None:
    upload, parts = t.upload_with_part()
    t.session.complete_multipart_upload(**upload, MultipartUpload=parts)  # type: ignore[arg-type]


def _copied_part(t: Target, source: dict[str, str], target: dict[str, str]) -> None:
    upload = t.service.create_multipart_upload(**target)["UploadId"]
    t.session.upload_part_copy(**target, UploadId=upload, PartNumber=1, CopySource=source)  # type: ignore[arg-type]


TAGS: Any = {"TagSet": [{"Key": "a", "Value": "b"}]}

VERBS: dict[str, tuple[str, Callable[[Target], object]]] = {
    "GET": (READ, lambda t: t.session.get_object(**t.there)["Body"].read()),
    "GET of a range": (READ, lambda t: t.session.get_object(**t.there, Range="bytes=0-1")["Body"].read()),
    "GET of a version": (NEVER, lambda t: t.session.get_object(**t.there, VersionId="null")["Body"].read()),
    "HEAD": (READ, lambda t: t.session.head_object(**t.there)),
    "GET by a presigned URL": (READ, _presigned("get_object", "GET", lambda t: t.there)),
    "PUT": (WRITE, lambda t: t.session.put_object(**t.new, Body=b"new")),
    "PUT over an object": (WRITE, lambda t: t.session.put_object(**t.there, Body=b"new")),
    "PUT create-only": (WRITE, lambda t: t.session.put_object(**t.new, Body=b"new", IfNoneMatch="*")),
    "PUT by a presigned URL": (WRITE, _presigned("put_object", "PUT", lambda t: t.new)),
    "POST of a form": (WRITE, _posted),
    "DELETE": (DELETE, lambda t: t.session.delete_object(**t.there)),
    "DELETE of a version": (NEVER, lambda t: t.session.delete_object(**t.there, VersionId="null")),
    "DELETE by a presigned URL": (DELETE, _presigned("delete_object", "DELETE", lambda t: t.there)),
    "DELETE of many": (DELETE, _deleted_many),
    "COPY from": (READ, lambda t: t.session.copy_object(**t.mine, CopySource=t.there)),  # type: ignore[arg-type]
    "COPY to": (WRITE, lambda t: t.session.copy_object(**t.new, CopySource=t.source)),  # type: ignore[arg-type]
    "part COPY from": (READ, lambda t: _copied_part(t, t.there, t.mine)),
    "part COPY to": (WRITE, lambda t: _copied_part(t, t.source, t.new)),
    "LIST": (READ, lambda t: t.session.list_objects_v2(Bucket=t.bucket, Prefix=t.folder)),
    "LIST of version 1": (READ, lambda t: t.session.list_objects(Bucket=t.bucket, Prefix=t.folder)),
    "LIST of folders": (READ, lambda t: t.session.list_objects_v2(Bucket=t.bucket, Prefix=t.folder, Delimiter="/")),
    "LIST of versions": (NEVER, lambda t: t.session.list_object_versions(Bucket=t.bucket, Prefix=t.folder)),
    "begin of an upload in parts": (WRITE, lambda t: t.session.create_multipart_upload(**t.new)),
    "PUT of a part": (WRITE, lambda t: t.session.upload_part(**t.upload(), PartNumber=1, Body=b"part")),  # type: ignore[arg-type]
    "completion of an upload": (WRITE, _completed),
    "abort of an upload": (WRITE, lambda t: t.session.abort_multipart_upload(**t.upload())),  # type: ignore[arg-type]
    "LIST of parts": (NEVER, lambda t: t.session.list_parts(**t.upload())),  # type: ignore[arg-type]
    "LIST of uploads": (NEVER, lambda t: t.session.list_multipart_uploads(Bucket=t.bucket, Prefix=t.folder)),
    "read of the access list": (NEVER, lambda t: t.session.get_object_acl(**t.there)),
    "PUT of the access list": (NEVER, lambda t: t.session.put_object_acl(**t.there, ACL="public-read")),
    "read of tags": (NEVER, lambda t: t.session.get_object_tagging(**t.there)),
    "PUT of tags": (NEVER, lambda t: t.session.put_object_tagging(**t.there, Tagging=TAGS)),
    "DELETE of tags": (NEVER, lambda t: t.session.delete_object_tagging(**t.there)),
}
"""For every folder: the right that it takes there, and what is done."""

POLICY = '{"Version":"2012-10-17","Statement":[]}'
RULES: Any = {"Rules": [{"ID": "all", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]}
ORIGINS: Any = {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}

BUCKET_VERBS: dict[str, Callable[[S3Client, str], object]] = {
    "list everything": lambda s3, bucket: s3.list_objects_v2(Bucket=bucket),
    "list folders at the top": lambda s3, bucket: s3.list_objects_v2(Bucket=bucket, Delimiter="/"),
    "list all versions": lambda s3, bucket: s3.list_object_versions(Bucket=bucket),
    "list all uploads": lambda s3, bucket: s3.list_multipart_uploads(Bucket=bucket),
    "read the policy": lambda s3, bucket: s3.get_bucket_policy(Bucket=bucket),
    "put a policy": lambda s3, bucket: s3.put_bucket_policy(Bucket=bucket, Policy=POLICY),
    "delete the policy": lambda s3, bucket: s3.delete_bucket_policy(Bucket=bucket),
    "read the access list": lambda s3, bucket: s3.get_bucket_acl(Bucket=bucket),
    "put an access list": lambda s3, bucket: s3.put_bucket_acl(Bucket=bucket, ACL="public-read"),
    "read the lifecycle": lambda s3, bucket: s3.get_bucket_lifecycle_configuration(Bucket=bucket),
    "put a lifecycle": lambda s3, bucket: s3.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration=RULES
    ),
    "read origins": lambda s3, bucket: s3.get_bucket_cors(Bucket=bucket),
    "put origins": lambda s3, bucket: s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=ORIGINS),
    "read versioning": lambda s3, bucket: s3.get_bucket_versioning(Bucket=bucket),
    "put versioning": lambda s3, bucket: s3.put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    ),
    "read tags": lambda s3, bucket: s3.get_bucket_tagging(Bucket=bucket),
    "put tags": lambda s3, bucket: s3.put_bucket_tagging(Bucket=bucket, Tagging=TAGS),
    "delete the bucket": lambda s3, bucket: s3.delete_bucket(Bucket=bucket),
    "create a bucket": lambda s3, bucket: s3.create_bucket(Bucket=f"{bucket}-of-a-trainer"),
}
"""None of them is a trainer's to do."""
