"""Digests against ones from elsewhere."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import pytest

from loramill import v1
from store.digests import manifest_digest, sha256_of


@pytest.mark.parametrize(
    ("content", "expected"),
    [  # FIPS 180-2, appendix B
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (b"a" * 1_000_000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ],
)
def test_the_digest_of_bytes_and_files_is_sha256(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(content) == sha256_of(tmp_path / "file") == expected


def test_a_manifests_digest_is_that_of_sha256sums_lines_in_any_order() -> None:
    paths = ["a/b.png", "a.png", "ä.png", "🎨.png"]
    files = [v1.DatasetFile(path=path, sha256=sha256_of(path.encode()), size_bytes=1) for path in paths]
    by_bytes = ["a.png", "a/b.png", "ä.png", "🎨.png"]
    lines = "".join(f"{sha256_of(path.encode())}  {path}\n" for path in by_bytes)
    expected = hashlib.sha256(lines.encode()).hexdigest()
    for order in itertools.permutations(files):
        assert manifest_digest(order) == expected


def test_a_manifests_digest_changes_with_path_and_content_and_is_defined_for_none() -> None:
    def digest(path: str, sha256: str) -> str:
        return manifest_digest([v1.DatasetFile(path=path, sha256=sha256)])

    assert len({digest("a", "0"), digest("b", "0"), digest("a", "1"), manifest_digest([])}) == 4
    assert manifest_digest([]) == hashlib.sha256(b"").hexdigest()
