"""Digests that records carry, so that content can be checked whatever store it lay in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from loramill import v1


def sha256_of(content: bytes | Path) -> str:
    """SHA-256 of the bytes, or of the local file, in hexadecimal."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest_digest(files: Iterable[v1.DatasetFile]) -> str:
    """SHA-256 over `<sha256>  <path>\\n` of every file in order of the path's UTF-8 bytes, as in v1.FileManifest.

    What `sha256sum` prints for the files, hashed: anyone can check it with two commands.
    """
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.path.encode()):
        digest.update(f"{file.sha256}  {file.path}\n".encode())
    return digest.hexdigest()
