"""What a zip from a service may not do."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from loramill.errors import DownloadError
from loramill.unpacking import unpack


def archive_of(folder: Path, *entries: zipfile.ZipInfo | str, content: bytes = b"x") -> Path:
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in entries:
            archive.writestr(entry, content)
    return path


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    ("entries", "part"),
    [
        (["../evil"], "is no plain relative path"),
        (["unet/../../evil"], "is no plain relative path"),
        (["/etc/evil"], "is no plain relative path"),
        (["unet//evil"], "is no plain relative path"),
        (["C:/evil"], "is no plain relative path"),
        (["unet\\..\\evil"], "is no plain relative path"),
        (["unet/.bashrc"], "is no plain relative path"),
        (["unet/a\x1bb"], "is no plain relative path"),
        (["a/b/c/d/e"], "is no plain relative path"),
        (["x" * 201], "is no plain relative path"),
        ([link("unet")], "is a link"),
        (["unet/a", "unet/A"], "is there twice"),
        ([f"unet/{number}" for number in range(65)], "66 files"),
    ],
)
def test_nothing_is_written_of_an_archive_that_leads_elsewhere(tmp_path: Path, entries: list, part: str) -> None:
    archive = archive_of(tmp_path, "good", *entries)
    with pytest.raises(DownloadError, match="is not unpacked") as refused:
        unpack(archive, tmp_path / "out")
    assert part in str(refused.value)
    assert list(tmp_path.iterdir()) == [archive]


def test_absurd_sizes_are_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loramill.unpacking._LARGEST_TOTAL", 999_999)
    archive = archive_of(tmp_path, "zeros", content=bytes(1_000_000))
    assert archive.stat().st_size < 5000
    with pytest.raises(DownloadError, match="more than 999999 bytes"):
        unpack(archive, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [archive]


def test_a_size_that_is_a_lie_leaves_no_file(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, "zeros", content=bytes(1000))
    content = archive.read_bytes()
    archive.write_bytes(content.replace((1000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(DownloadError, match="damaged zip"):
        unpack(archive, tmp_path / "out")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [archive]
