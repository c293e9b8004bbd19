"""Opening a safetensors file from anywhere: what its header says, checked before a number of it is read.

safetensors maps the file and holds its header against itself and against the file's size before it gives a tensor: types and
shapes give the bytes, the bytes lie end to end without a gap or an overlap, and fill the file. What it leaves open is closed
here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from trainer.errors import UserError

LARGEST_HEADER = 32 * 2**20
"""Bytes. The longest headers are those with a thumbnail and the tags of a large dataset: a few million."""

_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_DISGUISES = {b"PK\x03\x04": "a zip, as torch.save writes it", b"\x80": "a pickle", b"\x1f\x8b": "a gzip"}


@dataclass(frozen=True)
class Entry:
    """One tensor, by the header."""

    dtype: str
    """As safetensors says it: F32, BF16, …"""
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Opened:
    """A file whose header is sound."""

    path: Path
    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]

    def tensors(self, keys: Iterable[str]) -> dict[str, Tensor]:
        """Reads these tensors."""
        with safe_open(self.path, "pt") as file:
            return {key: file.get_tensor(key) for key in keys}


def opened(path: Path) -> Opened:
    """Raises UserError for what is no sound safetensors file."""
    _refuse_disguises(path)
    try:
        with safe_open(path, "pt") as file:
            slices = {key: file.get_slice(key) for key in sorted(file.keys())}
            entries = {key: Entry(str(part.get_dtype()), tuple(part.get_shape())) for key, part in slices.items()}
            return Opened(path, entries, dict(file.metadata() or {}))
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path.name} is no sound safetensors file ({_one_line(error)}); download or save it again."
        ) from error


def _refuse_disguises(path: Path) -> None:
    if path.suffix.lower() in _PICKLES:
        raise UserError(f"{path.name} is a pickle by its name, which can run code; give a .safetensors file.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            beginning = file.read(8)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({_one_line(error)}); give the path of an adapter.") from error
    if not size:
        raise UserError(f"{path.name} is empty; download or save it again.")
    length = int.from_bytes(beginning, "little")
    if length <= min(LARGEST_HEADER, size - 8):
        return
    for magic, what in _DISGUISES.items():
        if beginning.startswith(magic):
            raise UserError(f"{path.name} is {what}, not safetensors; pickles can run code and are never opened.")
    raise UserError(
        f"{path.name} is no sound safetensors file: it speaks of a header of {length} bytes, in a file of {size} bytes "
        f"where at most {LARGEST_HEADER} are read; download or save it again."
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
