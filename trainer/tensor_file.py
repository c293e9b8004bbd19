"""Tensors that wait on the local disk until they are asked for, so that memory does not grow with the dataset."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from safetensors.torch import load, save
from torch import Tensor

K = TypeVar("K", bound=Hashable)


class TensorFile(Mapping[K, dict[str, Tensor]]):
    """Values of named tensors by key, in one file without a name, which goes with the process.

    A value is read anew each time, mostly from the memory that the kernel can spare for the file, which it takes back when
    something else needs it. `folder` is where the file lies; None for the system's own place for such files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file, name = tempfile.mkstemp(dir=folder)
        Path(name).unlink()  # the file itself goes when nobody holds it open any more
        weakref.finalize(self, os.close, self._file)
        self._places: dict[K, tuple[int, int]] = {}
        self._end = 0

    def __setitem__(self, key: K, value: Mapping[str, Tensor]) -> None:
        content = memoryview(save({name: tensor.contiguous() for name, tensor in value.items()}))
        place = self._end, len(content)
        while content:
            written = os.pwrite(self._file, content, self._end)
            content, self._end = content[written:], self._end + written
        self._places[key] = place

    def __getitem__(self, key: K) -> dict[str, Tensor]:
        start, length = self._places[key]
        return load(os.pread(self._file, length, start))

    def alias(self, key: K, of: K) -> None:
        """`key` is to have the value that `of` has, without a second copy."""
        self._places[key] = self._places[of]

    def __iter__(self) -> Iterator[K]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: object) -> bool:
        return key in self._places
