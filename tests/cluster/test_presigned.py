"""What real S3 servers do with addresses: right ones work, and every other use of them is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import stamina
import urllib3

from loramill import v1
from service.audit import Audit
from service.caller import Caller
from service.datasets import Datasets
from service.direct_transfers import DirectTransfers, DirectTransferSettings, direct_transfers
from service.direct_uploads import DirectUploads
from service.errors import InvalidRequest
from service.keys import TenantKeys, dataset_of_name
from store.address_probe import probe_addresses
from store.addresses import Address
from store.s3 import S3Store
from tests.cluster import s3_servers
from tests.cluster.s3_servers import S3Server

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CALLER = Caller("tenant-a", "test", "/test", "call")
STRANGER = Caller("tenant-ab", "test", "/test", "call")
COMPARES = {"versitygw": True, "ceph": False}
"""Whether a server compares a content with the SHA-256 that was signed."""

CONTENT, OTHER = b"a picture of a cat", b"a picture of a dog"
LIFETIME = timedelta(minutes=5)
LARGE = 100 << 20
PIECE = 1 << 20
FORBIDDEN = range(400, 500)

http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5, read=60))


@pytest.fixture
def store(s3_client: S3Client, s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return S3Store(bucket, "some/prefix", s3_client)


@pytest.fixture
def direct(store: S3Store) -> DirectTransfers:
    """As a service that starts finds them."""
    found = direct_transfers(store, DirectTransferSettings())
    assert found is not None
    return found


@pytest.fixture
def uploads(store: S3Store, direct: DirectTransfers) -> DirectUploads:
    return DirectUploads(Datasets(store, Audit(store)), direct, 2 * LARGE)


def put(address: Address, content: bytes | Iterator[bytes], **changed: str | None) -> int:
    """Sends to an address; `changed` are headers in place of the signed ones, those of None are left out. The status."""
    headers = {**address.headers, **{name.replace("_", "-"): value for name, value in changed.items()}}
    return send("PUT", address.url, content, {name: value for name, value in headers.items() if value is not None})


def send(method: str, url: str, content: bytes | Iterator[bytes] | None, headers: Mapping[str, str]) -> int:
    return http.request(method, url, body=content, headers=dict(headers), redirect=False).status


def address_of(url: v1.UploadUrl) -> Address:
    return Address(url.url, dict(url.headers), url.expire_time.ToDatetime())


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file_of(content: bytes) -> v1.DatasetFile:
    return v1.DatasetFile(path="10_cat/a b.png", sha256=digest(content), size_bytes=len(content))


def opened(uploads: DirectUploads, file: v1.DatasetFile) -> tuple[str, Address]:
    """A new dataset, and where one file of it is sent to."""
    name = uploads.datasets.create(CALLER, v1.CreateDatasetRequest()).name
    (url,) = uploads.urls(CALLER, v1.CreateUploadUrlsRequest(dataset=name, files=[file])).urls
    return name, address_of(url)


def complete(uploads: DirectUploads, dataset: str, file: v1.DatasetFile, caller: Caller = CALLER) -> None:
    uploads.complete(caller, v1.CompleteUploadsRequest(dataset=dataset, files=[file]))


def blob_of(dataset: str, content: bytes) -> str:
    return TenantKeys(CALLER.tenant).dataset(dataset_of_name(dataset) or "").blob(digest(content))


def keys_in(store: S3Store) -> list[str]:
    return [entry.key for entry in store.list()]


def test_the_probe_knows_what_the_server_compares_and_leaves_nothing(s3_server: S3Server, store: S3Store) -> None:
    findings = probe_addresses(store, store.addresses())
    assert findings.faults == ()
    assert findings.checks_content is COMPARES[s3_server.name]
    assert keys_in(store) == []


def test_a_file_is_sent_completed_and_read(store: S3Store, uploads: DirectUploads) -> None:
    file = file_of(CONTENT)
    name, address = opened(uploads, file)
    assert "cat" not in address.url, "no name of a file stands in a key"
    assert put(address, CONTENT) == 200
    complete(uploads, name, file)
    assert store.get(blob_of(name, CONTENT)) == CONTENT
    assert list(store.list(TenantKeys(CALLER.tenant).uploads_prefix)) == []


def test_whoever_changes_the_request_is_refused_and_nothing_is_stored(store: S3Store) -> None:
    key = TenantKeys("tenant-a").upload("set", digest(CONTENT))
    address = store.addresses().upload(key, len(CONTENT), digest(CONTENT), LIFETIME)
    other = store.addresses().upload(key, len(OTHER), digest(OTHER), LIFETIME).headers["x-amz-checksum-sha256"]
    last = "1" if address.url.endswith("0") else "0"

    def at(url: str) -> Address:
        return replace(address, url=url)

    refused = {
        "tampered signature": put(at(address.url[:-1] + last), CONTENT),
        "no signature": put(at(address.url.partition("?")[0]), CONTENT),
        "longer lifetime": put(at(address.url.replace("X-Amz-Expires=300", "X-Amz-Expires=3000")), CONTENT),
        "other key": put(at(address.url.replace(digest(CONTENT), digest(OTHER))), CONTENT),
        "other tenant": put(at(address.url.replace("/tenant-a/", "/tenant-ab/")), CONTENT),
        "larger": put(address, CONTENT + b"!", Content_Length=str(len(CONTENT) + 1)),
        "smaller": put(address, CONTENT[:-1], Content_Length=str(len(CONTENT) - 1)),
        "other digest": put(address, OTHER, **{"x-amz-checksum-sha256": other}),
        "no digest": put(address, OTHER, **{"x-amz-checksum-sha256": None}),
        "not only creating": put(address, CONTENT, If_None_Match=None),
        "DELETE": send("DELETE", address.url, None, {}),
        "GET": send("GET", address.url, None, {}),
        "POST": send("POST", address.url, CONTENT, address.headers),
    }
    assert {what: status for what, status in refused.items() if status not in FORBIDDEN} == {}
    assert keys_in(store) == []
    assert put(address, CONTENT) == 200, "the address itself is right"


def test_an_expired_address_is_refused(store: S3Store) -> None:
    second = timedelta(seconds=1)
    sent = store.addresses().upload("a", len(CONTENT), digest(CONTENT), second)
    store.put_new("b", CONTENT)
    fetched = store.addresses().download("b", "b.png", second)
    # The server's clock is this machine's, but a server may be a second generous.
    for attempt in stamina.retry_context(on=AssertionError, attempts=50, timeout=20, wait_initial=0.5, wait_max=0.5):
        with attempt:
            assert send("GET", fetched.url, None, {}) in FORBIDDEN
    assert put(sent, CONTENT) in FORBIDDEN
    assert keys_in(store) == ["b"]


def test_another_content_is_never_taken(s3_server: S3Server, store: S3Store, uploads: DirectUploads) -> None:
    file = file_of(CONTENT)
    name, address = opened(uploads, file)
    assert (put(address, OTHER) == 400) is COMPARES[s3_server.name]
    with pytest.raises(InvalidRequest) as caught:
        complete(uploads, name, file)
    assert caught.value.violations[0].reason == ("NOT_SENT" if COMPARES[s3_server.name] else "DIGEST_MISMATCH")
    assert put(address, CONTENT) == 200, "the right content can still be sent"
    complete(uploads, name, file)
    assert store.get(blob_of(name, CONTENT)) == CONTENT


def test_a_replay_changes_neither_what_was_sent_nor_what_was_completed(store: S3Store, uploads: DirectUploads) -> None:
    file = file_of(CONTENT)
    name, address = opened(uploads, file)
    assert put(address, CONTENT) == 200
    assert put(address, CONTENT) == 412
    assert put(address, OTHER) in FORBIDDEN
    complete(uploads, name, file)
    put(address, OTHER)
    put(address, CONTENT)
    complete(uploads, name, file)
    assert store.get(blob_of(name, CONTENT)) == CONTENT


def test_another_tenant_gets_no_address_and_completes_nothing(uploads: DirectUploads) -> None:
    file = file_of(CONTENT)
    name, address = opened(uploads, file)
    assert put(address, CONTENT) == 200
    request = v1.CreateUploadUrlsRequest(dataset=name, files=[file])
    with pytest.raises(Exception, match="does not exist"):
        uploads.urls(STRANGER, request)
    with pytest.raises(Exception, match="does not exist"):
        complete(uploads, name, file, STRANGER)


def test_an_adapter_is_fetched_whole_or_in_part_and_nothing_else_is(store: S3Store) -> None:
    store.put_new("tenant-a/adapter.safetensors", CONTENT)
    store.put_new("tenant-ab/adapter.safetensors", OTHER)
    url = store.addresses().download("tenant-a/adapter.safetensors", "my adapter.safetensors", LIFETIME).url
    whole = http.request("GET", url)
    assert (whole.status, whole.data) == (200, CONTENT)
    assert whole.headers["Content-Type"] == "application/octet-stream"
    assert whole.headers["Content-Disposition"] == "attachment; filename*=UTF-8''my%20adapter.safetensors"
    part = http.request("GET", url, headers={"Range": "bytes=2-"})
    assert (part.status, part.data) == (206, CONTENT[2:])
    refused = {
        "other tenant": send("GET", url.replace("/tenant-a/", "/tenant-ab/"), None, {}),
        "shown as a page": send("GET", url.replace("octet-stream", "html"), None, {}),
        "no signature": send("GET", url.partition("?")[0], None, {}),
        "PUT": send("PUT", url, OTHER, {}),
        "DELETE": send("DELETE", url, None, {}),
    }
    assert {what: status for what, status in refused.items() if status not in FORBIDDEN} == {}
    assert store.get("tenant-a/adapter.safetensors") == CONTENT


def test_a_large_file_passes_by_the_service_whose_memory_does_not_grow(store: S3Store, uploads: DirectUploads) -> None:
    pieces = LARGE // PIECE
    whole = hashlib.sha256()
    for number in range(pieces):
        whole.update(_piece(number))
    file = v1.DatasetFile(path="large.png", sha256=whole.hexdigest(), size_bytes=LARGE)
    name, address = opened(uploads, file)
    assert put(address, (_piece(number) for number in range(pieces))) == 200
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _peak_bytes()
    complete(uploads, name, file)
    assert _peak_bytes() - before < 40 << 20
    blob = TenantKeys(CALLER.tenant).dataset(dataset_of_name(name) or "").blob(file.sha256)
    assert store.info(blob).size == LARGE


def test_callers_may_reach_the_server_at_another_address_than_the_service(s3_server: S3Server, store: S3Store) -> None:
    """At its TLS port, whose certificate is of the cluster's own authority."""
    public = s3_servers.tls_server(s3_server.name)
    pool = urllib3.PoolManager(ca_certs=public.ca, retries=False)
    sent = store.addresses(public.endpoint).upload("a", len(CONTENT), digest(CONTENT), LIFETIME)
    assert pool.request("PUT", sent.url, body=CONTENT, headers=dict(sent.headers)).status == 200
    fetched = store.addresses(public.endpoint).download("a", "a.png", LIFETIME)
    assert pool.request("GET", fetched.url).data == CONTENT


def _piece(number: int) -> bytes:
    return number.to_bytes(4, "big") * (PIECE // 4)


def _peak_bytes() -> int:
    """The most memory that this process has had since its peak was reset."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) << 10
