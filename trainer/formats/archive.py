"""A folder of files as one zip, the same bytes for the same files; and a zip from anywhere as a folder again."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from trainer.errors import UserError

_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""A zip cannot say that it knows no time."""
_MOST_FILES = 64


def packed(files: Mapping[str, bytes], path: Path) -> None:
    """Writes a zip of these files, by name, uncompressed, in order of name, without times."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _EARLIEST), files[name])


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """`with unpacked(path) as folder: …`; raises UserError for what is no plain zip. Nothing is unpacked that grows."""
    with tempfile.TemporaryDirectory(prefix="loramill-") as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                for member in _members(path, archive):
                    archive.extract(member, folder)
        except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
            raise UserError(f"{path.name} is no sound zip ({error}); download or save it again.") from error
        yield Path(folder)


def _members(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    for member in members:
        name = Path(member.filename)
        if member.compress_type != zipfile.ZIP_STORED or member.file_size > path.stat().st_size:
            raise UserError(f"{path.name} holds {member.filename!r:.80} compressed; only uncompressed zips are read.")
        if name.suffix not in (".json", ".safetensors") or name.is_absolute() or ".." in name.parts:
            raise UserError(f"{path.name} holds {member.filename!r:.80}, which does not belong to an adapter.")
    if len(members) > _MOST_FILES or sum(member.file_size for member in members) > path.stat().st_size:
        raise UserError(f"{path.name} holds more than its size allows; it is no zip of an adapter.")
    return members
