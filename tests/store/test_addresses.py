"""Presigned addresses over moto, which checks no signature: what is signed, and what the probe finds where little is checked."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import pytest

from store import NotFound
from store.address_probe import probe_addresses
from store.addresses import Addressable
from store.files import FileStore
from store.s3 import S3Store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MINUTE = timedelta(minutes=1)
CONTENT = b"a picture"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def s3_store(s3_client: S3Client, bucket: str) -> S3Store:
    return S3Store(bucket, "some/prefix", s3_client)


def test_a_folder_has_no_addresses_and_s3_has(tmp_path: Path, s3_store: S3Store) -> None:
    assert not isinstance(FileStore(tmp_path), Addressable)
    assert isinstance(s3_store, Addressable)


def test_an_upload_is_bound_to_its_key_size_and_digest_and_creates_only(s3_store: S3Store) -> None:
    before = datetime.now(UTC)
    address = s3_store.addresses().upload("tenant/a", len(CONTENT), SHA256, MINUTE)
    query = parse_qs(urlsplit(address.url).query)
    assert query["X-Amz-SignedHeaders"] == ["content-length;host;if-none-match;x-amz-checksum-sha256"]
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["60"]
    assert urlsplit(address.url).path.endswith("/some/prefix/tenant/a")
    assert address.headers == {
        "If-None-Match": "*",
        "Content-Length": str(len(CONTENT)),
        "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(CONTENT).digest()).decode(),
    }
    assert before + MINUTE <= address.expire_time <= datetime.now(UTC) + MINUTE


def test_what_is_sent_to_an_address_is_fetched_from_another_as_a_file_to_be_saved(s3_store: S3Store) -> None:
    sent = s3_store.addresses().upload("tenant/a", len(CONTENT), SHA256, MINUTE)
    urlopen(
        Request(sent.url, CONTENT, {**sent.headers, "Content-Type": "application/octet-stream"}, method="PUT"),
        timeout=10,
    ).close()
    fetched = s3_store.addresses().download("tenant/a", "mine é.html", MINUTE)
    with urlopen(fetched.url, timeout=10) as answer:
        assert answer.read() == CONTENT
    query = parse_qs(urlsplit(fetched.url).query)
    assert query["response-content-disposition"] == ["attachment; filename*=UTF-8''mine%20%C3%A9.html"]
    assert query["response-content-type"] == ["application/octet-stream"]


def test_addresses_name_the_endpoint_that_callers_reach(s3_store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    addresses = s3_store.addresses("https://s3.example.com")
    assert addresses.download("a", "a", MINUTE).url.startswith("https://s3.example.com/")
    assert addresses.upload("a", 1, SHA256, MINUTE).url.startswith("https://s3.example.com/")


def test_a_copy_has_the_content_and_takes_the_place_of_what_was_there(s3_store: S3Store) -> None:
    s3_store.put_new("a b/ü", CONTENT)
    s3_store.put_new("c", b"other")
    s3_store.addresses().copy("a b/ü", "c")
    assert s3_store.get("c") == CONTENT
    with pytest.raises(NotFound, match="not-there"):
        s3_store.addresses().copy("not-there", "d")


def test_the_probe_names_what_a_store_does_not_check_and_leaves_nothing(s3_store: S3Store) -> None:
    findings = probe_addresses(s3_store, s3_store.addresses())
    assert findings.faults == ("more bytes than were announced are taken",)
    assert not findings.checks_content
    assert list(s3_store.list()) == []
