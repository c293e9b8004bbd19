"""What is particular to the store in a local folder."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import AlreadyExists, InvalidKey, NotFound, StoreUnavailable, UnsuitableStore, open_store
from store.files import FileStore

PUT_FROM_PIPE = """
import sys
from pathlib import Path
from store import open_store
open_store(sys.argv[1]).put_new("slow/object", Path(sys.argv[2]))
"""


HalfWritten = tuple[subprocess.Popen[bytes], BinaryIO]


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        os.sched_yield()


@pytest.fixture
def half_written(file_store: FileStore, tmp_path: Path) -> Iterator[HalfWritten]:
    """A process in the middle of a put_new of `slow/object`, and the pipe that it reads the content from."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = subprocess.Popen([sys.executable, "-c", PUT_FROM_PIPE, file_store.uri, str(pipe)])
    with pipe.open("wb", buffering=0) as source:
        source.write(b"half")
        wait_for(lambda: bool(partials(tmp_path / "root")))
        yield writer, source
        writer.kill()
        writer.wait()


def partials(root: Path) -> list[Path]:
    return list(root.glob(".partial/*"))


def test_a_put_that_is_killed_leaves_nothing_to_see_and_its_leftover_is_swept(
    half_written: HalfWritten, file_store: FileStore, tmp_path: Path
) -> None:
    writer, _ = half_written
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(partials(tmp_path / "root")) == 1
    with pytest.raises(NotFound):
        file_store.get("slow/object")
    assert list(file_store.list()) == []

    again = FileStore(tmp_path / "root")
    assert partials(tmp_path / "root") == []
    again.put_new("slow/object", b"whole")
    assert again.get("slow/object") == b"whole"


def test_a_put_under_way_is_not_swept(half_written: HalfWritten, file_store: FileStore, tmp_path: Path) -> None:
    writer, source = half_written
    FileStore(tmp_path / "root")
    assert len(partials(tmp_path / "root")) == 1
    assert list(file_store.list()) == []
    source.write(b" and half")
    source.close()
    assert writer.wait(timeout=30) == 0
    assert file_store.get("slow/object") == b"half and half"
    assert partials(tmp_path / "root") == []


def test_only_own_leftovers_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial" / "download of another program").write_bytes(b"")
    FileStore(tmp_path)
    assert [path.name for path in partials(tmp_path)] == ["download of another program"]


def test_stores_below_one_another_share_the_folder_for_temporaries(tmp_path: Path) -> None:
    outer = FileStore(tmp_path)
    outer.put_new("first", b"")
    inner = open_store(outer.uri + "jobs/1/runs/1/")
    inner.put_new("claim.json", b"claimed")
    assert outer.get("jobs/1/runs/1/claim.json") == b"claimed"
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob(".partial")] == [Path(".partial")]


def test_temporaries_of_an_inner_store_are_not_listed_by_an_outer_one(tmp_path: Path) -> None:
    FileStore(tmp_path / "jobs").put_new("key", b"")
    (tmp_path / "jobs" / ".partial" / ("put-" + "0" * 32)).write_bytes(b"")
    assert [found.key for found in FileStore(tmp_path).list()] == ["jobs/key"]


def test_nothing_is_made_by_reading(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "never" / "written")
    assert list(store.list()) == []
    with pytest.raises(NotFound):
        store.get("key")
    store.delete("key")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["a", "a/b/c"])
def test_a_key_that_is_another_keys_folder_is_refused(file_store: FileStore, key: str) -> None:
    file_store.put_new("a/b", b"")
    for put in (file_store.put_new, file_store.put_status):
        with pytest.raises(InvalidKey, match=f"{key} cannot be written: a folder, a file or a link"):
            put(key, b"")
    file_store.delete(key)
    assert [found.key for found in file_store.list()] == ["a/b"]


def test_a_file_in_the_place_of_the_root_is_reported_on_opening(tmp_path: Path) -> None:
    (tmp_path / "root").write_bytes(b"")
    with pytest.raises(InvalidKey, match="root/ cannot be written: a folder, a file or a link stands in its way"):
        FileStore(tmp_path / "root")


def test_a_full_disk_is_reported_with_the_object_and_leaves_nothing(
    file_store: FileStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("store.partials.os.fsync", full)
    with pytest.raises(StoreUnavailable, match="a/key could not be used: No space left on device"):
        file_store.put_new("a/key", b"content")
    monkeypatch.undo()
    assert list(file_store.list()) == []
    assert partials(tmp_path / "root") == []


def test_a_file_system_without_hard_links_is_named(file_store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("store.files.os.link", refuse)
    with pytest.raises(UnsuitableStore, match="key lies on a file system without hard links"):
        file_store.put_new("key", b"")


def test_a_link_that_was_made_but_not_answered_is_our_own(
    file_store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS repeats a request whose answer was lost, and then says that the name exists already."""
    link = os.link

    def link_twice(*args: object, **keywords: object) -> None:
        link(*args, **keywords)  # type: ignore[arg-type]
        link(*args, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr("store.files.os.link", link_twice)
    file_store.put_new("key", b"ours")
    assert file_store.get("key") == b"ours"
    with pytest.raises(AlreadyExists):
        file_store.put_new("key", b"ours")


def test_deleting_the_last_object_of_a_folder_does_not_disturb_who_writes_there(file_store: FileStore) -> None:
    def put_and_delete(name: str) -> None:
        for _ in range(60):
            file_store.put_new(f"a/b/{name}", b"")
            file_store.delete(f"a/b/{name}")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(put_and_delete, "1234"))
    assert list(file_store.list()) == []


@pytest.fixture
def linked(file_store: FileStore, tmp_path: Path) -> Path:
    """A folder outside of the store, with a secret, to which links inside of the store lead."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    file_store.put_new("inside/object", b"object")
    root = tmp_path / "root"
    (root / "folder").symlink_to(outside)
    (root / "inside" / "file").symlink_to(outside / "secret")
    (root / "inside" / "dangling").symlink_to(outside / "new")
    return outside


@pytest.mark.parametrize("key", ["folder/new", "folder/secret", "folder/a/b", "inside/file/x"])
def test_links_are_not_followed_for_writing(file_store: FileStore, linked: Path, key: str) -> None:
    for put in (file_store.put_new, file_store.put_status):
        with pytest.raises(InvalidKey, match="a link stands in its way"):
            put(key, b"planted")
    file_store.delete(key)
    assert {path.name: path.read_bytes() for path in linked.iterdir()} == {"secret": b"secret"}


def test_a_link_in_the_place_of_an_object_is_not_written_through(file_store: FileStore, linked: Path) -> None:
    for name in ("file", "dangling"):
        with pytest.raises(InvalidKey):
            file_store.put_new(f"inside/{name}", b"planted")
        file_store.put_status(f"inside/{name}", b"replaces the link itself")
    assert {path.name: path.read_bytes() for path in linked.iterdir()} == {"secret": b"secret"}


@pytest.mark.usefixtures("linked")
def test_links_are_not_followed_for_reading(file_store: FileStore) -> None:
    assert [found.key for found in file_store.list()] == ["inside/object"]
    assert list(file_store.list("folder/")) == []
    for key in ("folder/secret", "inside/file", "inside/dangling"):
        with pytest.raises(NotFound):
            file_store.get(key)


def test_pipes_and_folders_are_no_objects(file_store: FileStore, tmp_path: Path) -> None:
    file_store.put_new("a/b", b"")
    os.mkfifo(tmp_path / "root" / "pipe")
    assert [found.key for found in file_store.list()] == ["a/b"]
    for key in ("pipe", "a"):
        with pytest.raises(NotFound):
            file_store.get(key)


KEY_LIKE = st.lists(st.sampled_from(["a", "b", "a.", "..", ".", "", "/", "\\", "\0", ".partial", "ä", "~"]), max_size=6)


@settings(max_examples=60, deadline=None)
@given(key=st.one_of(KEY_LIKE.map("/".join), KEY_LIKE.map("".join), st.text(max_size=300)))
def test_no_key_reaches_outside_of_the_root(key: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "outside" / "root"
        store = FileStore(root)
        try:
            store.put_new(key, b"x")
        except InvalidKey:
            assert not root.exists()
        else:
            assert store.get(key) == b"x"
            assert [found.key for found in store.list()] == [key]
        assert {path.name for path in Path(name).rglob("*") if path != root and root not in path.parents} <= {"outside"}


PART = st.text(alphabet="ab.-/0é", min_size=1, max_size=5)


@settings(max_examples=50, deadline=None)
@given(wanted=st.sets(PART, max_size=12), prefix=st.sampled_from(["", "a", "a/", "b-"]), after=PART)
def test_a_listing_is_as_sorting_all_keys_by_their_bytes(wanted: set[str], prefix: str, after: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        store = FileStore(Path(name))
        stored = []
        for key in sorted(wanted):
            with contextlib.suppress(InvalidKey):  # no key, or another one's folder
                store.put_new(key, b"")
                stored.append(key)
        expected = [key for key in sorted(stored, key=str.encode) if key.startswith(prefix) and key > after]
        assert [found.key for found in store.list(prefix, after)] == expected
