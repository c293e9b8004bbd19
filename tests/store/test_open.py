"""From addresses to stores and keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from store import InvalidKey, open_store, split_uri


@pytest.mark.parametrize(
    ("uri", "root", "key"),
    [
        ("file:///a/b/c.json", "file:///a/b/", "c.json"),
        ("file:///c.json", "file:///", "c.json"),
        ("file://localhost/a/c.json", "file://localhost/a/", "c.json"),
        ("file:///a%20b/c%20d", "file:///a%20b/", "c d"),
        ("s3://bucket/c.json", "s3://bucket/", "c.json"),
        ("s3://bucket/a/b/c.json", "s3://bucket/a/b/", "c.json"),
    ],
)
def test_an_address_is_split_into_root_and_key(uri: str, root: str, key: str) -> None:
    assert split_uri(uri) == (root, key)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "c.json",
        "/a/c.json",
        "file:///a/b/",
        "file://host/a",
        "file:a",
        "s3://bucket",
        "s3://bucket/",
        "s3:///key",
        "http://host/key",
        "file:///a/..",
        "file:///a/%2e%2e",
        "file:///a/b%2fc%2f..",
        "file:///a/%ff",
        "file:///a/b%00",
    ],
)
def test_what_names_no_object_is_refused(uri: str) -> None:
    with pytest.raises(InvalidKey):
        split_uri(uri)


@pytest.mark.parametrize("ending", ["", "/"])
def test_a_folder_is_opened_as_a_store(tmp_path: Path, ending: str) -> None:
    folder = tmp_path / "with space and ä"
    store = open_store(folder.as_uri() + ending)
    store.put_new("key", b"content")
    assert store.uri == folder.as_uri() + "/"
    assert (folder / "key").read_bytes() == b"content"


@pytest.mark.parametrize(
    ("uri", "canonical"),
    [
        ("s3://bucket", "s3://bucket/"),
        ("s3://bucket/a%20b/", "s3://bucket/a%20b/"),
    ],
)
def test_a_bucket_is_opened_as_a_store(monkeypatch: pytest.MonkeyPatch, uri: str, canonical: str) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    assert open_store(uri).uri == canonical


@pytest.mark.parametrize(
    "uri", ["", "folder", "/folder", "file:folder", "file://folder/", "s3://", "s3:///a", "s3://b/../c", "gs://b/"]
)
def test_what_names_no_store_is_refused(uri: str) -> None:
    with pytest.raises(InvalidKey):
        open_store(uri)
