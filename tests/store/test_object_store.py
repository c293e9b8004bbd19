"""What every backend does, the same for all of them."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from store import AlreadyExists, InvalidKey, NotFound, ObjectStore
from store.key_rules import check_key

UGLY_KEYS = [
    "a b/c+d.json",
    "naïve/漢字/🎨.txt",
    "per%20cent/%2e%2e/x",
    'quo\'te/"double"/#?&=*',
    "~/-/_",
    "...",
    "..a/b..",
]

BAD_KEYS = [
    "",
    "/",
    "/absolute",
    "ends/",
    "doubled//slash",
    "..",
    "../sibling",
    "a/../../b",
    "a/..",
    ".",
    "./a",
    "a/./b",
    "back\\slash",
    "..\\up",
    "nul\x00",
    "new\nline",
    "delete\x7f",
    "c1\x85control",
    "half\ud800pair",
    ".partial/put-1",
    "a/.partial/b",
    "x" * 256,
    "漢" * 86,
    "/".join(["part"] * 200),
]


def keys(store: ObjectStore, prefix: str = "", after: str = "") -> list[str]:
    return [found.key for found in store.list(prefix, after)]


def test_what_is_put_is_read(store: ObjectStore) -> None:
    store.put_new("folder/key.json", b"content")
    assert store.get("folder/key.json") == b"content"


def test_an_empty_content_is_a_content(store: ObjectStore, tmp_path: Path) -> None:
    store.put_new("empty", b"")
    store.fetch("empty", tmp_path / "fetched")
    assert (store.get("empty"), store.info("empty").size, store.get_range("empty", 0, 10)) == (b"", 0, b"")
    assert (tmp_path / "fetched").read_bytes() == b""


def test_any_letters_can_stand_in_a_key(store: ObjectStore) -> None:
    for key in UGLY_KEYS:
        store.put_new(key, key.encode())
        assert store.get(key) == key.encode()
    assert keys(store) == sorted(UGLY_KEYS, key=str.encode)


@pytest.mark.parametrize("key", BAD_KEYS)
def test_what_can_climb_out_or_confuse_is_no_key(key: str) -> None:
    with pytest.raises(InvalidKey, match=r"^key .* cannot name an object: it "):
        check_key(key)


def test_no_method_takes_what_is_no_key(store: ObjectStore, tmp_path: Path) -> None:
    calls: list[Callable[[str], object]] = [
        lambda key: store.put_new(key, b"x"),
        lambda key: store.put_status(key, b"x"),
        lambda key: store.get(key),
        lambda key: store.get_range(key, 0, 1),
        lambda key: store.info(key),
        lambda key: store.fetch(key, tmp_path / "fetched"),
        lambda key: store.delete(key),
    ]
    for call, key in itertools.product(calls, BAD_KEYS):
        with pytest.raises(InvalidKey):
            call(key)
    assert keys(store) == []
    assert not (tmp_path / "fetched").exists()


def test_all_that_is_wrong_with_a_key_is_said_at_once(store: ObjectStore) -> None:
    with pytest.raises(InvalidKey, match=r"doubles '/', it has a part '\.\.', it has a part longer than 255 bytes"):
        store.get(f"a//../{'x' * 256}")


def test_a_prefix_that_no_key_begins_with_is_refused_at_once(store: ObjectStore) -> None:
    for prefix in ("../", "..//", "a/../b", "/", "a//b", "nul\x00", "back\\", ".partial/"):
        with pytest.raises(InvalidKey, match="cannot begin a key"):
            store.list(prefix)  # not only when the first is asked for


def test_creating_again_is_refused_and_changes_nothing(store: ObjectStore) -> None:
    store.put_new("key", b"first")
    for content in (b"second", b"first"):
        with pytest.raises(AlreadyExists, match=f"^{store.uri}key exists already"):
            store.put_new("key", content)
    assert store.get("key") == b"first"


def test_of_many_that_create_a_key_exactly_one_wins(store: ObjectStore) -> None:
    rounds, contenders = 10, 8
    start = threading.Barrier(contenders)

    def contend(number: int) -> list[int]:
        won = []
        for turn in range(rounds):
            start.wait()
            with contextlib.suppress(AlreadyExists):
                store.put_new(f"race/{turn}", str(number).encode())
                won.append(turn)
        return won

    with ThreadPoolExecutor(contenders) as threads:
        won = list(threads.map(contend, range(contenders)))
    assert sorted(turn for turns in won for turn in turns) == list(range(rounds))
    for number, turns in enumerate(won):
        assert [store.get(f"race/{turn}") for turn in turns] == [str(number).encode()] * len(turns)


def test_a_status_is_replaced(store: ObjectStore) -> None:
    for content in (b"old and long", b"new"):
        store.put_status("status.json", content)
        assert store.get("status.json") == content


def test_a_reader_of_a_status_never_sees_a_part(store: ObjectStore) -> None:
    contents = [bytes([letter]) * 100_000 for letter in b"ab"]
    store.put_status("status", contents[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(20):
            store.put_status("status", contents[turn % 2])
        done.set()

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(write)
        while not done.is_set() and not writing.done():
            assert store.get("status") in contents
        writing.result()


def test_a_local_file_is_streamed_there_and_back(store: ObjectStore, tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "there").write_bytes(content)
    (tmp_path / "back").write_bytes(b"what was there before")
    store.put_new("large", tmp_path / "there")
    store.fetch("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content
    with pytest.raises(AlreadyExists):
        store.put_new("large", tmp_path / "there")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["back", "there"]


def test_a_missing_local_file_is_the_callers_mistake_and_makes_nothing(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.put_new("key", tmp_path / "missing")
    assert keys(store) == []


def test_a_range_ends_where_the_object_ends(store: ObjectStore) -> None:
    digits = b"0123456789"
    store.put_new("digits", digits)
    for start, length in [(0, 4), (6, 3), (8, 100), (10, 1), (99, 1), (3, 0), (0, 10)]:
        assert store.get_range("digits", start, length) == digits[start : start + length]


def test_info_tells_size_and_time(store: ObjectStore) -> None:
    store.put_new("a/b", b"12345")
    found = store.info("a/b")
    assert (found.key, found.size, found.modified.tzinfo is not None) == ("a/b", 5, True)
    assert abs(datetime.now(UTC) - found.modified) < timedelta(minutes=1)
    assert list(store.list()) == [found], "an object has one time, wherever it is told"


def test_what_is_missing_is_not_found(store: ObjectStore, tmp_path: Path) -> None:
    store.put_new("a/b", b"")
    calls: list[Callable[[str], object]] = [
        lambda key: store.get(key),
        lambda key: store.get_range(key, 0, 1),
        lambda key: store.get_range(key, 0, 0),
        lambda key: store.info(key),
        lambda key: store.fetch(key, tmp_path / "fetched"),
    ]
    for call, key in itertools.product(calls, ["missing", "no/such/folder", "a", "a/b/c"]):
        with pytest.raises(NotFound, match=f"^{store.uri}{key} does not exist$"):
            call(key)
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []


def test_an_empty_store_lists_nothing(store: ObjectStore) -> None:
    assert keys(store) == keys(store, "a/b") == []
    store.delete("never/was")


LISTED = ["a", "a-b/c", "a.txt", "b!/x", "b/1", "b/10", "b/2/x", "b/2/y", "b0", "c/d/e/f", "ä", "漢", "🎨"]
"""In the order of their bytes, which is not that of a folder by folder listing: `b!` < `b/` < `b0`."""


LISTINGS = [  # prefix, after, keys
    ("", "", LISTED),
    ("b", "", ["b!/x", "b/1", "b/10", "b/2/x", "b/2/y", "b0"]),
    ("b/", "", ["b/1", "b/10", "b/2/x", "b/2/y"]),
    ("b/1", "", ["b/1", "b/10"]),
    ("b/2", "", ["b/2/x", "b/2/y"]),
    ("b/2/", "b/2/x", ["b/2/y"]),
    ("b/", "b/10", ["b/2/x", "b/2/y"]),
    ("b/", "b/2", ["b/2/x", "b/2/y"]),
    ("b/", "b/2/x0", ["b/2/y"]),
    ("b/", "a", ["b/1", "b/10", "b/2/x", "b/2/y"]),
    ("b/", "c", []),
    ("", "b/2/y", ["b0", "c/d/e/f", "ä", "漢", "🎨"]),
    ("", "c/d/e/f", ["ä", "漢", "🎨"]),
    ("", "漢", ["🎨"]),
    ("c/d/e/f", "", ["c/d/e/f"]),
    ("c/d/e/f/", "", []),
    ("nothing/here", "", []),
]


def test_a_listing_is_in_order_of_the_bytes(store: ObjectStore) -> None:
    for key in reversed(LISTED):
        store.put_new(key, b"1")
    for prefix, after, expected in LISTINGS:
        assert keys(store, prefix, after) == expected, (prefix, after)
        assert [found.key for found in store.list(prefix, after, at_once=1)] == expected, (prefix, after)


def test_a_deleted_object_is_gone_and_its_key_can_be_used_again(store: ObjectStore) -> None:
    store.put_new("a/b/c", b"1")
    store.put_new("a/d", b"2")
    for _ in range(2):
        store.delete("a/b/c")
        assert keys(store) == ["a/d"]
    store.put_new("a/b", b"what was a folder is an object now")
    assert keys(store) == ["a/b", "a/d"]
