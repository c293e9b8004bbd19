"""What goes as it should goes over obstore. Whatever else comes is boto3's to find out: nothing is taken for what it is not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from store import AlreadyExists, NotFound, StoreUnavailable
from store.s3 import S3Store
from store.s3_client import make_client
from tests.moto_s3 import moto_keys

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Answer = tuple[int, str]


class Heard:
    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []

    def answered(self, operation: str, answer: str, seconds: float) -> None:
        assert 0 < seconds < 60
        self.requests.append((operation, answer))


@contextmanager
def answering(answer: Callable[[str, bytes, int], Answer]) -> Iterator[tuple[S3Store, list[str]]]:
    """A store whose server answers as told by method, content and number of the request; and who has asked it."""
    askers: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            askers.append("boto3" if "Boto3" in self.headers.get("User-Agent", "") else "obstore")
            status, body = answer(self.command, content, len(askers))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"e"')
            self.send_header("Last-Modified", "Sat, 28 Nov 2026 10:00:00 GMT")
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_PUT = serve

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with moto_keys():
            client = make_client(endpoint_url=f"http://127.0.0.1:{server.server_port}")
            yield S3Store("bucket", client=client, quick=True), askers
    finally:
        server.shutdown()
        server.server_close()


def error(code: str) -> str:
    return f"<Error><Code>{code}</Code><Message>m</Message></Error>"


def test_each_request_is_heard_of_once(s3_endpoint: str, bucket: str) -> None:
    heard = Heard()
    with moto_keys():
        store = S3Store(bucket, client=make_client(endpoint_url=s3_endpoint), observer=heard, quick=True)
        store.put_new("a", b"1")
        with pytest.raises(AlreadyExists):
            store.put_new("a", b"2")
        with pytest.raises(NotFound):
            store.get("b")
        store.put_status("c", b"3")
        assert (store.get("a"), store.get("c")) == (b"1", b"3")
    assert heard.requests == [
        ("PutObject", "200"),
        ("PutObject", "412"),
        ("GetObject", "404"),
        ("PutObject", "200"),
        ("GetObject", "200"),
        ("GetObject", "200"),
    ]


def test_a_conflict_is_no_proof_that_the_object_exists() -> None:
    def answer(_method: str, _content: bytes, number: int) -> Answer:
        return (409, error("ConditionalRequestConflict")) if number == 1 else (200, "")

    with answering(answer) as (store, askers):
        store.put_new("a", b"1")
    assert askers == ["obstore", "boto3"]


@pytest.mark.parametrize(("there", "ours"), [("1", True), ("2", False)])
def test_what_is_there_after_an_unanswered_create_is_ours_if_it_has_our_bytes(there: str, *, ours: bool) -> None:
    def answer(method: str, _content: bytes, number: int) -> Answer:
        if method == "GET":
            return 200, there
        return (500, "") if number == 1 else (412, error("PreconditionFailed"))

    with answering(answer) as (store, askers):
        if ours:
            store.put_new("a", b"1")
        else:
            with pytest.raises(AlreadyExists):
                store.put_new("a", b"1")
    assert askers == ["obstore", "boto3", "boto3"]


def test_a_missing_bucket_is_no_missing_object() -> None:
    with (
        answering(lambda *_: (404, error("NoSuchBucket"))) as (store, _),
        pytest.raises(StoreUnavailable, match="bucket"),
    ):
        store.get("a")


def test_after_trouble_boto3_alone_is_asked_for_a_while() -> None:
    def answer(_method: str, _content: bytes, number: int) -> Answer:
        return (503, error("SlowDown")) if number == 1 else (200, "1")

    with answering(answer) as (store, askers):
        assert [store.get("a"), store.get("a")] == [b"1", b"1"]
    assert askers == ["obstore", "boto3", "boto3"]


def test_keys_that_obstore_would_write_otherwise_are_not_its_business() -> None:
    with answering(lambda *_: (200, "1")) as (store, askers):
        store.get("a~b")
    assert askers == ["boto3"]


def page(numbers: range, following: str = "") -> str:
    entry = "<Contents><Key>a/{:04}</Key><Size>1</Size><LastModified>2026-11-28T10:00:00.123Z</LastModified></Contents>"
    after = f"<NextContinuationToken>{following}</NextContinuationToken>" if following else ""
    truncated = f"<IsTruncated>{str(bool(following)).lower()}</IsTruncated>"
    return f"<ListBucketResult>{truncated}{after}{''.join(map(entry.format, numbers))}</ListBucketResult>"


def test_a_listing_that_breaks_off_is_boto3s_to_go_on_with() -> None:
    def answer(_method: str, _content: bytes, number: int) -> Answer:
        return [(200, page(range(1000), "more")), (503, error("SlowDown")), (200, page(range(1000, 1002)))][number - 1]

    with answering(answer) as (store, askers):
        assert [found.key for found in store.list("a/")] == [f"a/{number:04}" for number in range(1002)]
    assert askers == ["obstore", "obstore", "boto3"]


@pytest.mark.parametrize(
    ("prefix", "after", "at_once", "asker"),
    [
        ("a/", "", 1000, "obstore"),
        ("a/", "a/0001", 1000, "obstore"),
        ("a/", "a/", 1000, "boto3"),
        ("a/", "a/0001~", 1000, "boto3"),
        ("a", "", 1000, "boto3"),
        ("a/", "", 10, "boto3"),
    ],
)
def test_who_is_asked_for_a_listing(prefix: str, after: str, at_once: int, asker: str) -> None:
    with answering(lambda *_: (200, page(range(2)))) as (store, askers):
        assert [found.modified.microsecond for found in store.list(prefix, after, at_once)] == [0, 0]
    assert askers == [asker]


def test_a_marker_of_an_empty_folder_is_no_object(quick_store: S3Store, s3_client: S3Client, bucket: str) -> None:
    quick_store.put_new("a/b", b"1")
    s3_client.put_object(Bucket=bucket, Key="some/prefix/a/folder/", Body=b"")
    quick_store.put_new("a/z", b"")
    assert [found.key for found in quick_store.list("a/")] == ["a/b", "a/z"]
