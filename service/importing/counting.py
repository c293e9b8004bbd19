"""Progress of a download that may go back and begin again."""

from __future__ import annotations

from typing import Any

from service.importing import problems
from service.importing.places import Progress
from service.importing.problems import failed


class Told:
    """Turns a position that may go back into progress that does not."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._reached = 0

    def at(self, position: int) -> None:
        if position > self._reached:
            self._progress(position - self._reached)
            self._reached = position


class Counting:
    """The file that a download is written to: no longer than was announced, its growth told."""

    def __init__(self, file: Any, begun: int, size: int, told: Told) -> None:
        self._file, self._position, self._size, self._told = file, begun, size, told

    def write(self, content: bytes) -> int:
        self._position += len(content)
        if self._position > self._size:
            raise failed(problems.SOURCE_CHANGED, f"The hub sent more than the {self._size} bytes that it announced.")
        written: int = self._file.write(content)
        self._told.at(self._position)
        return written

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        self._file.flush()
        self._position = position
        return position

    def truncate(self) -> int:
        self._file.truncate(self._position)  # opened for appending: writing goes on behind what is left
        return self._position
