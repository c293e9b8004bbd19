"""Whether the probe lets good stores pass, and no store that lacks what Loramill builds on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.awsrequest import AWSRequest

from store import AlreadyExists, NotFound, ObjectInfo, ObjectStore, StoreUnavailable, UnsuitableStore
from store.files import FileStore
from store.probe import probe
from store.s3 import S3Store
from store.s3_client import make_client

CONTENDERS = 16


def test_a_good_store_passes_and_is_left_as_it_was(store: ObjectStore) -> None:
    store.put_new("tenant/key", b"")
    probe(store)
    assert [found.key for found in store.list()] == ["tenant/key"]


class Overwrites(FileStore):
    """As S3-compatible stores do that ignore If-None-Match."""

    def put_new(self, key: str, content: bytes | Path) -> None:
        assert isinstance(content, bytes)
        self.put_status(key, content)


class LooksThenWrites(FileStore):
    """Create-only for one writer at a time; all that look at once find nothing, and all write."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._all_looked = threading.Event()
        self._looked = threading.Barrier(CONTENDERS, action=self._all_looked.set)

    def put_new(self, key: str, content: bytes | Path) -> None:
        assert isinstance(content, bytes)
        try:
            self.info(key)
        except NotFound:
            if not self._all_looked.is_set():
                self._looked.wait(timeout=30)
            self.put_status(key, content)
        else:
            raise AlreadyExists(key)


class RefusesAndWrites(FileStore):
    def put_new(self, key: str, content: bytes | Path) -> None:
        assert isinstance(content, bytes)
        try:
            super().put_new(key, content)
        except AlreadyExists:
            self.put_status(key, b"of the loser")
            raise


class ListsLate(FileStore):
    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        return iter(list(super().list(prefix, after))[:0])


class ListsByFolder(FileStore):
    """Files of a folder before the folders in it."""

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        return iter(sorted(super().list(prefix, after), key=lambda found: (found.key.count("/"), found.key)))


class ListsFromTheStart(FileStore):
    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:  # noqa: ARG002
        return super().list(prefix)


class ReadsLate(FileStore):
    def get(self, key: str) -> bytes:
        raise NotFound(key)


class ReadsOld(FileStore):
    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._old: dict[str, bytes] = {}

    def get(self, key: str) -> bytes:
        return self._old.setdefault(key, super().get(key))


class IgnoresRanges(FileStore):
    def get_range(self, key: str, start: int, length: int) -> bytes:
        return super().get_range(key, 0, start + length)


class KeepsDeleted(FileStore):
    def delete(self, key: str) -> None:
        pass


@pytest.mark.parametrize(
    ("kind", "lack"),
    [
        (Overwrites, "of 16 create-only PUTs of one key at the same time 16 succeeded, not exactly one"),
        (Overwrites, "a create-only PUT of a key that exists is not refused"),
        (LooksThenWrites, "of 16 create-only PUTs of one key at the same time 16 succeeded, not exactly one"),
        (RefusesAndWrites, "a read after a create-only PUT does not return what the winner wrote"),
        (ListsLate, "a listing does not show an object that was just written"),
        (ListsByFolder, "a listing is not complete and in the order of the keys' bytes"),
        (ListsFromTheStart, "a listing does not begin behind the key that it was told to"),
        (ReadsLate, "a read does not find an object that was just written"),
        (ReadsOld, "a read does not return what was just written over an older content"),
        (IgnoresRanges, "a read of a range of bytes returns other bytes"),
        (KeepsDeleted, "an object that was deleted is still there"),
    ],
)
def test_a_store_that_lacks_something_is_refused_by_name(tmp_path: Path, kind: type[FileStore], lack: str) -> None:
    store = kind(tmp_path)
    with pytest.raises(UnsuitableStore, match=lack) as caught:
        probe(store, CONTENDERS)
    assert str(caught.value).startswith(f"{store.uri} cannot be used: ")
    if kind is not KeepsDeleted:
        assert list(FileStore(tmp_path).list()) == []


def without_condition(request: AWSRequest, **_: object) -> None:
    del request.headers["If-None-Match"]


def test_an_s3_store_that_ignores_the_condition_is_refused_by_name(s3_endpoint: str, bucket: str) -> None:
    """Stores that do not know If-None-Match carry the request out as if it were not there."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        client = make_client(endpoint_url=s3_endpoint)
    client.meta.events.register("before-sign.s3.PutObject", without_condition)
    with pytest.raises(
        UnsuitableStore, match=r"16 create-only PUTs .* 16 succeeded.*not refused.*If-None-Match"
    ) as caught:
        probe(S3Store(bucket, client=client))
    assert str(caught.value).startswith(f"s3://{bucket}/ cannot be used: ")


class Silent(FileStore):
    def put_status(self, key: str, content: bytes) -> None:
        raise StoreUnavailable(f"{key} got no answer to {len(content)} bytes")


def test_a_store_that_falls_silent_is_unavailable_and_the_probe_cleans_up(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="got no answer"):
        probe(Silent(tmp_path))
    assert list(FileStore(tmp_path).list()) == []
