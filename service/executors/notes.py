"""Small JSON files that are written once, by which service and runner know of each other. Standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write_once(path: Path, note: dict[str, Any]) -> bool:
    """Writes a note, whole or not at all. True if it is now ours; False if another one was there, which stays."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with partial.open("x", encoding="utf-8") as file:
            json.dump(note, file)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)
    except FileExistsError:
        return False
    finally:
        partial.unlink(missing_ok=True)
    with _opened_folder(path.parent) as folder:
        os.fsync(folder)
    return True


def read_note(path: Path) -> dict[str, Any] | None:
    """The note, or None if there is none. Raises ValueError, naming the file, for what is no note."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        note = json.loads(content)
    except ValueError:
        note = None
    if not isinstance(note, dict):
        raise ValueError(f"{path} is not a JSON object; it is damaged or not from Loramill")
    return note


@contextlib.contextmanager
def _opened_folder(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
