"""What is particular to S3: what goes over the wire, and what is made of answers that come late, wrong, or not at all."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import stamina
import structlog
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    IncompleteReadError,
    ReadTimeoutError,
)
from botocore.utils import parse_timestamp

from store import AlreadyExists, InvalidKey, NotFound, StoreUnavailable, UnsuitableStore
from store import s3_client as clients
from store.s3 import S3Store
from store.s3_client import make_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART = 5 << 20
"""Bytes: the smallest part that S3 takes."""

TIMEOUT = ReadTimeoutError(endpoint_url="http://s3")


class Faulty:
    """A client of which chosen calls fail: before the request is carried out, or after, as if its answer were lost."""

    def __init__(self, client: S3Client) -> None:
        self._client = client
        self._faults: dict[str, list[tuple[str, Exception]]] = {}
        self.calls: list[str] = []

    def fail(self, method: str, when: str, error: Exception, times: int = 1) -> None:
        self._faults.setdefault(method, []).extend([(when, error)] * times)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            self.calls.append(method)
            when, error = faults.pop(0) if (faults := self._faults.get(method)) else ("never", None)
            if error is not None and when == "before":
                raise error
            answer = getattr(self._client, method)(**arguments)
            if error is not None:
                raise error
            return answer

        return call


@pytest.fixture
def faulty(s3_client: S3Client) -> Faulty:
    return Faulty(s3_client)


@pytest.fixture
def store(faulty: Faulty, bucket: str) -> S3Store:
    return S3Store(bucket, client=faulty, part_size=PART)  # type: ignore[arg-type]


@pytest.fixture
def rival(s3_client: S3Client, bucket: str) -> S3Store:
    """The same place, by another client."""
    return S3Store(bucket, client=s3_client, part_size=PART)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of three parts, the last of them small."""
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * ((2 * PART + 512) // 256))
    return path


def client_error(client: S3Client, code: str, status: int) -> Exception:
    answer: Any = {"Error": {"Code": code, "Message": "by the test"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return client.exceptions.ClientError(answer, "Test")


def test_an_object_that_was_created_without_an_answer_is_our_own(store: S3Store, faulty: Faulty) -> None:
    faulty.fail("put_object", "after", TIMEOUT)
    store.put_new("key", b"ours")
    assert faulty.calls == ["put_object", "put_object", "get_object"]
    assert store.get("key") == b"ours"


@pytest.mark.parametrize("theirs", [b"theirs", b"ours and more", b"our", b""])
def test_an_object_of_another_content_is_not_our_own(
    store: S3Store, faulty: Faulty, rival: S3Store, theirs: bytes
) -> None:
    rival.put_new("key", theirs)
    faulty.fail("put_object", "before", TIMEOUT)
    with pytest.raises(AlreadyExists):
        store.put_new("key", b"ours")
    assert store.get("key") == theirs


def test_an_equal_object_of_another_writer_is_not_our_own(
    store: S3Store, faulty: Faulty, rival: S3Store, s3_client: S3Client
) -> None:
    """A conflict is an answer: the request was not carried out, so what is there afterwards is somebody else's."""
    rival.put_new("key", b"equal")
    faulty.fail("put_object", "before", client_error(s3_client, "ConditionalRequestConflict", 409))
    with pytest.raises(AlreadyExists):
        store.put_new("key", b"equal")


@pytest.mark.parametrize(
    ("code", "status"),
    [("ConditionalRequestConflict", 409), ("SlowDown", 503), ("InternalError", 500), ("RequestTimeout", 400)],
)
def test_what_may_pass_is_asked_again(
    store: S3Store, faulty: Faulty, s3_client: S3Client, code: str, status: int
) -> None:
    faulty.fail("put_object", "before", client_error(s3_client, code, status), times=3)
    store.put_new("key", b"content")
    assert faulty.calls.count("put_object") == 4
    faulty.fail("get_object", "before", client_error(s3_client, code, status), times=3)
    assert store.get("key") == b"content"


@pytest.mark.parametrize(
    "error",
    [TIMEOUT, EndpointConnectionError(endpoint_url="http://s3"), ConnectionClosedError(endpoint_url="http://s3")],
)
def test_a_store_that_stays_silent_is_unavailable(store: S3Store, faulty: Faulty, error: Exception) -> None:
    faulty.fail("put_object", "before", error, times=100)
    with pytest.raises(StoreUnavailable, match=f"^{store.uri}a/key could not be used: .*http://s3"):
        store.put_new("a/key", b"content")
    assert faulty.calls.count("put_object") == 10


def test_a_refusal_is_not_asked_again_and_names_the_remedy(
    store: S3Store, rival: S3Store, faulty: Faulty, s3_client: S3Client
) -> None:
    rival.put_new("key", b"not for us")
    faulty.fail("get_object", "before", client_error(s3_client, "AccessDenied", 403))
    with pytest.raises(StoreUnavailable, match=r"AccessDenied.*grant these credentials"):
        store.get("key")
    assert faulty.calls.count("get_object") == 1


READS: list[tuple[str, Callable[[S3Store, Path], object]]] = [
    ("get_object", lambda store, _: store.get("key")),
    ("get_object", lambda store, _: store.get_range("key", 0, 1)),
    ("get_object", lambda store, path: store.fetch("key", path)),
    ("head_object", lambda store, _: store.info("key")),
]


@pytest.mark.parametrize(("method", "read"), READS)
def test_what_is_missing_is_told_from_what_is_refused(
    store: S3Store,
    rival: S3Store,
    faulty: Faulty,
    s3_client: S3Client,
    tmp_path: Path,
    method: str,
    read: Callable[[S3Store, Path], object],
) -> None:
    """AWS says 403 of a missing object to whoever may not list the whole bucket."""
    rival.put_new("key-of-another", b"")
    refused = client_error(s3_client, "403" if method == "head_object" else "AccessDenied", 403)
    faulty.fail(method, "before", refused, times=2)
    with pytest.raises(NotFound, match="key does not exist"):
        read(store, tmp_path / "fetched")
    faulty.fail("list_objects_v2", "before", refused)
    with pytest.raises(StoreUnavailable):
        read(store, tmp_path / "fetched")


def test_a_large_file_is_created_where_missing_keys_are_refused(
    store: S3Store, faulty: Faulty, s3_client: S3Client, large: Path
) -> None:
    faulty.fail("head_object", "before", client_error(s3_client, "403", 403), times=2)
    store.put_new("large", large)
    assert store.get("large") == large.read_bytes()


def test_a_store_without_conditional_writes_is_unsuitable(store: S3Store, faulty: Faulty, s3_client: S3Client) -> None:
    faulty.fail("put_object", "before", client_error(s3_client, "NotImplemented", 501))
    with pytest.raises(UnsuitableStore, match="does not support"):
        store.put_new("key", b"")


def test_what_another_deletes_in_the_same_moment_is_deleted(store: S3Store, faulty: Faulty) -> None:
    """As versitygw tells the second of two; S3 says no such thing."""
    missing = ClientError(
        {"Error": {"Code": "NoSuchKey", "Message": "The specified key does not exist."}}, "DeleteObject"
    )
    store.put_new("a", b"x")
    faulty.fail("delete_object", "after", missing)
    store.delete("a")
    with pytest.raises(NotFound):
        store.get("a")


def test_a_missing_bucket_is_named_and_is_no_missing_object(s3_client: S3Client) -> None:
    store = S3Store("no-such-bucket", client=s3_client)
    calls: list[Callable[[], object]] = [
        lambda: store.get("key"),
        lambda: store.put_new("key", b""),
        lambda: list(store.list()),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable, match=r"s3://no-such-bucket/.*create the bucket, or correct its name"):
            call()


def test_a_large_file_goes_in_parts_and_is_create_only(store: S3Store, faulty: Faulty, large: Path) -> None:
    store.put_new("large", large)
    assert faulty.calls.count("upload_part") == 3
    assert store.get("large") == large.read_bytes()
    with pytest.raises(AlreadyExists):
        store.put_new("large", large)
    assert faulty.calls.count("upload_part") == 3  # found out before anything is sent


def test_a_large_file_that_comes_second_at_the_last_moment_is_refused(
    store: S3Store, rival: S3Store, faulty: Faulty, s3_client: S3Client, bucket: str, large: Path
) -> None:
    faulty.fail("head_object", "before", client_error(s3_client, "404", 404), times=2)  # as if it came after both looks
    rival.put_new("large", b"first")
    with pytest.raises(AlreadyExists):
        store.put_new("large", large)
    assert store.get("large") == b"first"
    assert uploads_under_way(s3_client, bucket) == []


def test_a_large_file_that_was_completed_without_an_answer_is_our_own(
    store: S3Store, faulty: Faulty, large: Path
) -> None:
    faulty.fail("complete_multipart_upload", "after", TIMEOUT)
    store.put_new("large", large)
    assert (faulty.calls.count("upload_part"), faulty.calls.count("complete_multipart_upload")) == (3, 2)
    assert store.get("large") == large.read_bytes()


def test_an_upload_that_the_store_dropped_begins_anew(
    store: S3Store, faulty: Faulty, s3_client: S3Client, bucket: str, large: Path
) -> None:
    faulty.fail("complete_multipart_upload", "before", client_error(s3_client, "ConditionalRequestConflict", 409))
    faulty.fail("complete_multipart_upload", "before", client_error(s3_client, "NoSuchUpload", 404))
    store.put_new("large", large)
    assert faulty.calls.count("create_multipart_upload") == 2
    assert store.get("large") == large.read_bytes()
    assert uploads_under_way(s3_client, bucket) == []


def test_an_upload_that_fails_is_taken_back(
    store: S3Store, faulty: Faulty, s3_client: S3Client, bucket: str, large: Path
) -> None:
    faulty.fail("upload_part", "before", client_error(s3_client, "AccessDenied", 403))
    with pytest.raises(StoreUnavailable, match="AccessDenied"):
        store.put_new("large", large)
    assert uploads_under_way(s3_client, bucket) == []
    with pytest.raises(NotFound):
        store.get("large")


class BreaksOff(io.BytesIO):
    """The body of an answer whose connection is lost after its first bytes."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise IncompleteReadError(actual_bytes=self.tell(), expected_bytes=100)
        return super().read(min(3, size or 3))


def test_a_fetch_that_breaks_off_begins_again_from_the_start(
    store: S3Store, faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_new("key", b"whole")
    get = faulty.get_object
    bodies = [BreaksOff(b"something longer")]
    monkeypatch.setattr(
        faulty, "get_object", lambda **request: {"Body": bodies.pop()} if bodies else get(**request), raising=False
    )
    store.fetch("key", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["fetched"]


def test_a_large_object_is_fetched_in_ranges_and_only_what_broke_off_is_fetched_again(
    store: S3Store, faulty: Faulty, large: Path, tmp_path: Path
) -> None:
    store.put_new("large", large)
    faulty.fail("get_object", "after", TIMEOUT, times=2)
    store.fetch("large", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == large.read_bytes()
    assert faulty.calls.count("get_object") == 3 + 2


def test_an_object_that_is_replaced_while_it_is_fetched_is_not_a_mixture(
    store: S3Store, rival: S3Store, faulty: Faulty, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_new("large", large)
    get, answered = faulty.get_object, []

    def replaced_after_the_first(**request: Any) -> Any:
        answer = get(**request)
        if not answered:
            rival.delete("large")
            rival.put_new("large", large.read_bytes()[::-1])
        answered.append(request)
        return answer

    monkeypatch.setattr(faulty, "get_object", replaced_after_the_first, raising=False)
    with pytest.raises(StoreUnavailable, match="large was replaced while it was fetched"):
        store.fetch("large", tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_retries_are_logged_without_the_content(store: S3Store, faulty: Faulty, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"canary" * (PART // 6 + 1))
    stamina.instrumentation.set_on_retry_hooks(None)  # the command, tested in this process, takes them away
    faulty.fail("put_object", "before", TIMEOUT)
    faulty.fail("upload_part", "before", TIMEOUT)
    with structlog.testing.capture_logs() as logged:
        store.put_status("status", b"canary")
        faulty.fail("put_object", "before", TIMEOUT)
        store.put_new("small", b"canary")
        store.put_new("large", tmp_path / "large")
    assert len(logged) == 3
    assert "canary" not in repr(logged)


def uploads_under_way(client: S3Client, bucket: str) -> list[Any]:
    return list(client.list_multipart_uploads(Bucket=bucket).get("Uploads", ()))


def test_a_long_listing_is_read_page_by_page(store: S3Store, faulty: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"{number:03d}" for number in range(7)]
    for key in keys:
        store.put_new(key, b"")
    pages = faulty.list_objects_v2
    monkeypatch.setattr(faulty, "list_objects_v2", lambda **request: pages(**request | {"MaxKeys": 3}), raising=False)
    faulty.fail("list_objects_v2", "after", TIMEOUT)
    assert [found.key for found in store.list()] == keys
    assert faulty.calls.count("list_objects_v2") == 4
    assert [found.key for found in store.list(after="004")] == ["005", "006"]


def test_a_listing_asks_for_no_more_than_are_likely_to_be_taken(
    store: S3Store, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        store.put_new(str(number), b"")
    asked: list[int] = []
    pages = faulty.list_objects_v2

    def listed(**request: Any) -> Any:
        asked.append(request["MaxKeys"])
        return pages(**request)

    monkeypatch.setattr(faulty, "list_objects_v2", listed, raising=False)
    found = store.list(at_once=2)
    assert [next(found).key, next(found).key] == ["0", "1"]
    assert asked == [2]
    assert [entry.key for entry in found] == ["2", "3", "4", "5", "6"]
    assert asked == [2, 1000]


def test_a_prefix_is_a_folder_and_not_the_beginning_of_a_name(s3_client: S3Client, bucket: str) -> None:
    S3Store(bucket, "tenant-ab", s3_client).put_new("key", b"")
    assert list(S3Store(bucket, "tenant-a", s3_client).list()) == []
    with pytest.raises(InvalidKey):
        S3Store(bucket, "../tenant-a", s3_client)


def test_markers_of_empty_folders_are_passed_over(store: S3Store, s3_client: S3Client, bucket: str) -> None:
    s3_client.put_object(Bucket=bucket, Key="folder/", Body=b"")
    store.put_new("folder/key", b"")
    assert [found.key for found in store.list()] == ["folder/key"]


class Wire:
    """Answers every request with nothing but a status, and keeps the last one."""

    def __init__(self, client: S3Client, status: int = 200) -> None:
        self.request: AWSPreparedRequest | None = None
        self.count = 0
        self._status = status
        client.meta.events.register("before-send.s3", self._answer)  # type: ignore[arg-type]

    def _answer(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        self.request = request
        self.count += 1
        return AWSResponse(request.url, self._status, HTTPHeaders(), NoBody())


class NoBody:
    def stream(self, *_: object, **__: object) -> list[bytes]:
        return []


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize(
    ("endpoint", "url", "checksum"),
    [
        (None, "https://bucket.s3.eu-central-1.amazonaws.com/key", True),
        ("https://s3.example.org:9000", "https://s3.example.org:9000/bucket/key", False),
    ],
)
def test_addresses_and_checksums_are_what_the_endpoint_understands(
    monkeypatch: pytest.MonkeyPatch, endpoint: str | None, url: str, checksum: bool
) -> None:
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    client = make_client()
    wire = Wire(client)
    S3Store("bucket", client=client).put_new("key", b"content")
    assert wire.request is not None
    headers = {name.lower(): value for name, value in wire.request.headers.items()}
    assert wire.request.url == url
    assert headers["if-none-match"] in ("*", b"*")
    assert any("checksum" in name for name in headers) == checksum


@pytest.mark.usefixtures("credentials")
def test_a_status_is_put_without_a_condition_and_in_the_path_if_asked() -> None:
    client = make_client(path_style=True)
    wire = Wire(client)
    S3Store("bucket", "some/prefix", client).put_status("key", b"content")
    assert wire.request is not None
    assert wire.request.url == "https://s3.eu-central-1.amazonaws.com/bucket/some/prefix/key"
    assert "if-none-match" not in {name.lower() for name in wire.request.headers}


@pytest.mark.usefixtures("credentials")
def test_no_request_is_repeated_behind_the_stores_back() -> None:
    """boto3 would take the repetition's `412` for the answer, and the store would not know that the first may be ours."""
    client = make_client()
    wire = Wire(client, status=503)
    with pytest.raises(StoreUnavailable):
        S3Store("bucket", client=client).put_new("key", b"content")
    assert wire.count == 10


@pytest.mark.parametrize(
    "told",
    ["2026-11-28T14:26:19.123Z", "2026-11-28T14:26:19Z", "Sat, 28 Nov 2026 14:26:19 GMT", "1795875979", 1795875979],
)
def test_times_are_read_as_botocore_reads_them(told: object) -> None:
    assert clients._timestamp(told) == parse_timestamp(told)
