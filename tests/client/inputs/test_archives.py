"""Archives as they are, and as somebody hostile would make them."""

from __future__ import annotations

import gzip
import io
import random
import stat
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loramill.errors import InputError
from loramill.inputs.archives import Limits, open_archive
from loramill.inputs.layouts import read_input
from loramill.inputs.local import open_local

FILES = {"10_cat/a.png": b"a" * 3000, "10_cat/a.txt": b"a cat", "b.jpg": bytes(range(256)) * 20}


def zipped(path: Path, files: dict[str, bytes] | list[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in dict(files).items() if isinstance(files, dict) else files:
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def contents(path: Path) -> dict[str, bytes]:
    with open_archive(path) as source:
        found = {}
        for entry in source.entries:
            with source.file(entry.label) as local:
                found[entry.label] = local.read_bytes()
            assert source.read(entry.label, 7) == found[entry.label][:7]
        return found


def problems(path: Path) -> tuple[str, ...]:
    with pytest.raises(InputError) as raised, open_local(path) as (source, configuration):
        read_input(source, configuration)
    return raised.value.problems or (str(raised.value),)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "A.TGZ"])
def test_what_is_packed_comes_out(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("zip"):
        zipped(path, FILES)
    else:
        tarred(path, FILES, "w" if name.endswith(".tar") else "w:gz")
    assert contents(path) == FILES


def test_tar_names_with_a_dot_in_front(tmp_path: Path) -> None:
    assert contents(tarred(tmp_path / "a.tar", {"./a.png": b"a"})) == {"a.png": b"a"}


@pytest.mark.parametrize("name", ["../../a.png", "/etc/a.png", "a/../../b.png", "..\\a.png", "C:/a.png"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_paths_that_climb(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    zipped(path, {name: b"a"}) if kind == "zip" else tarred(path, {name: b"a"})
    assert len(problems(path)) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_links_and_devices(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, type_ in (("a.png", tarfile.SYMTYPE), ("b.png", tarfile.LNKTYPE), ("c.png", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = type_, "/etc/passwd"
            archive.addfile(info)
    assert len(problems(tmp_path / "a.tar")) == 3
    info = zipfile.ZipInfo("a.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(info, "/etc/passwd")
    assert "is a link" in problems(tmp_path / "a.zip")[0]


def test_archives_in_archives_and_encrypted_files(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": b"a", "inner.zip": b"PK", "more/inner.tar.gz": b"x"})
    assert [problem.partition(" is ")[2] for problem in problems(path)] == [
        "an archive inside the archive; unpack it first."
    ] * 2
    content = bytearray(zipped(tmp_path / "b.zip", {"a.png": b"a"}).read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag in the central directory
    (tmp_path / "b.zip").write_bytes(content)
    assert "is encrypted; pack it without a password" in problems(tmp_path / "b.zip")[0]


def test_a_file_that_is_there_twice(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        zipped(tmp_path / "a.zip", [("a.png", b"1"), ("a.png", b"2")])
    assert "is in the archive twice" in problems(tmp_path / "a.zip")[0]


def test_bombs(tmp_path: Path) -> None:
    one = zipped(tmp_path / "one.zip", {"a.png": bytes(3 << 20), "b.png": random.Random(0).randbytes(100_000)})
    assert "which no picture does" in problems(one)[0]
    assert (
        "more than 100 times"
        in problems(zipped(tmp_path / "all.zip", {"a.txt": bytes(1 << 20), "b.txt": bytes(1 << 20)}))[0]
    )
    with gzip.open(tmp_path / "a.tar.gz", "wb") as packed:
        for _ in range(40):
            packed.write(bytes(1 << 20))
    assert "come out of its" in problems(tmp_path / "a.tar.gz")[0]
    many = zipped(tmp_path / "many.zip", {f"{number}.png": b"x" for number in range(20)})
    for limits, expected in ((Limits(files=10), "20 files, more than 10"), (Limits(total=10), "20 bytes together")):
        with pytest.raises(InputError, match=expected), open_archive(many, limits):
            pass


def test_sizes_that_are_lies(tmp_path: Path) -> None:
    """The index says 4 bytes, and more would come out: never more than it says does, and the damage is named."""
    content = bytearray(zipped(tmp_path / "a.zip", {"a.png": b"x" * 5000}).read_bytes())
    place = content.index(b"PK\x01\x02") + 24
    content[place : place + 4] = (4).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(content)
    with open_archive(tmp_path / "a.zip") as source, pytest.raises(InputError, match=r"'a\.png' cannot be unpacked"):
        source.read("a.png", 10_000)


def test_a_header_that_would_fill_memory(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2 << 20
    (tmp_path / "a.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(2 << 20))
    assert "a header of 2097152 bytes" in problems(tmp_path / "a.tar")[0]


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_what_is_no_archive(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no archive at all" * 100)
    assert "is damaged" in problems(tmp_path / name)[0]


@pytest.mark.parametrize("name", ["a.rar", "a.7z", "a.tar.xz"])
def test_kinds_that_are_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert "of a kind that is not read" in problems(tmp_path / name)[0]


def test_shards_in_a_folder(tmp_path: Path) -> None:
    tarred(tmp_path / "00.tar", {"1.png": b"1", "1.txt": b"one"})
    tarred(tmp_path / "more.tar.gz", {"1.png": b"2", "1.json": b'{"text": "two"}'}, "w:gz")
    (tmp_path / "notes.md").write_text("x")
    with open_local(tmp_path) as (source, configuration):
        found = read_input(source, configuration)
        assert [file.label for file in found.files] == ["00/1.png", "00/1.txt", "more/1.png", "more/1.txt"]
        assert [ignored.label for ignored in found.ignored] == ["notes.md"]
        with source.file("more/1.png") as path:
            assert path.read_bytes() == b"2"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_is_flipped_nothing_but_a_sentence_comes_of_it(data: st.DataObject) -> None:
    """An archive with damaged bytes gives its files, or InputError: no other exception, and no content beyond its index."""
    kind = data.draw(st.sampled_from(["zip", "tar", "tar.gz"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{kind}"
        zipped(path, FILES) if kind == "zip" else tarred(path, FILES, "w" if kind == "tar" else "w:gz")
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 6))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
        try:
            with open_local(path) as (source, configuration):
                for file in read_input(source, configuration).files:
                    with source.file(file.origin) as local:
                        assert local.stat().st_size == file.size
        except InputError:
            pass
        assert list(Path(folder).iterdir()) == [path]
