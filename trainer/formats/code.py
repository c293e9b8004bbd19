"""Which code trained an adapter."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import trainer
from store.digests import sha256_of


@functools.cache
def code_digest(folder: Path = Path(trainer.__path__[0])) -> str:
    """SHA-256 over `<sha256>  <path>\\n` of every Python file of the trainer, in order of path, in hexadecimal.

    What `find . -name '*.py' | LC_ALL=C sort | xargs sha256sum | sed 's, [.]/, ,' | sha256sum` prints in the folder.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py"), key=lambda path: str(path.relative_to(folder)).encode()):
        digest.update(f"{sha256_of(path)}  {path.relative_to(folder)}\n".encode())
    return digest.hexdigest()
