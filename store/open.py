"""From a URI to the store that it names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from store.files import FileStore
from store.object_store import InvalidKey, ObjectStore
from store.uris import decoded

if TYPE_CHECKING:
    from store.s3_requests import RequestObserver


def open_store(uri: str, observer: RequestObserver | None = None, *, quick: bool = False) -> ObjectStore:
    """The store whose root is `uri`: `file:///folder/` or `s3://bucket/prefix/`; a missing `/` at the end is added.

    No object is read or written yet. S3 takes its endpoint, region, credentials and CA bundle from AWS's own
    environment variables and files; `observer` hears of each of its requests, and `quick` is as in S3Store. Raises
    InvalidKey for anything else.
    """
    scheme, separator, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    if separator and scheme == "file" and host in ("", "localhost") and slash:
        return FileStore(Path("/" + decoded(path)))
    if separator and scheme == "s3" and host:
        from store.s3 import S3Store  # here, because boto3 takes a while to import and local mode has no use for it

        return S3Store(host, decoded(path), observer=observer, quick=quick)
    raise InvalidKey(
        f"{uri!r} names no object store: expected file:///folder/ with an absolute path, or s3://bucket/prefix/"
    )
