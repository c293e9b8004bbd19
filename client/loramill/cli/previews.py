"""Previews while a job is followed: saved as files, shown where the terminal can."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TextIO

from loramill.cli.inline import Graphics, ask_terminal, cell_of, graphics_of, rows_of
from loramill.cli.sixel import is_possible
from loramill.errors import ClientError
from loramill.previews import Picture, save_picture
from loramill.watch import TERMINAL

if TYPE_CHECKING:
    from pathlib import Path

    from loramill import v1
    from loramill.client import Client

MOST_SHOWN = 4
"""Prompts that are shown in the terminal after a step; files are saved of all."""


def graphics_for(stream: TextIO) -> Graphics:
    """How pictures are shown on a stream: not at all where it is no terminal, or where their pixels cannot be read for sixel."""
    if not stream.isatty():
        return Graphics.NONE
    found = graphics_of(os.environ, ask_terminal)
    return Graphics.NONE if found is Graphics.SIXEL and not is_possible() else found


class View(Protocol):
    """Where progress is shown."""

    def say(self, line: str) -> None: ...

    def write(self, letters: str) -> None: ...


@dataclass(frozen=True)
class Looking:
    """What is done with previews."""

    folder: Path | None
    """Where files go; None saves none."""
    graphics: Graphics

    def of(self, client: Client, view: View) -> Previews:
        return Previews(client, self.folder, self.graphics, view)


@dataclass
class Previews:
    """What has been drawn of a job so far, as far as it was looked at."""

    client: Client
    folder: Path | None
    graphics: Graphics
    view: View
    seen: int | None = None
    """The last step whose pictures were fetched."""
    without: dict[int, Picture] = field(default_factory=dict)
    """The base's own pictures, by prompt."""
    is_broken: bool = False

    @property
    def is_wanted(self) -> bool:
        return self.folder is not None or self.graphics is not Graphics.NONE

    def look(self, job: v1.TrainingJob) -> None:
        """Fetches what is new. A job is followed though its pictures cannot be had: that is said once."""
        has = job.progress.HasField("preview_step")
        drawn = has and (self.seen is None or job.progress.preview_step > self.seen)
        if not self.is_wanted or not (drawn or job.state in TERMINAL):
            return
        try:
            self._take(list(self.client.get_previews(job.name, after_step=self.seen, plain=True)))
            self.is_broken = False
        except ClientError as error:
            if not self.is_broken:
                self.view.say(f"Its previews cannot be had now: {error}")
            self.is_broken = True

    def _take(self, pictures: list[Picture]) -> None:
        steps = sorted({picture.preview.step for picture in pictures})
        for step in steps:
            mine = [picture for picture in pictures if picture.preview.step == step]
            if step == 0:
                self.without = {picture.preview.place: picture for picture in mine}
            if self.folder is not None:
                for picture in mine:
                    save_picture(picture, self.folder)
                count = f"{len(mine)} preview{'' if len(mine) == 1 else 's'}"
                when = f"after step {step}" if step else "without the adapter"
                self.view.say(f"Saved {count} {when} in {self.folder}")
            if step == steps[-1] > 0 and self.graphics is not Graphics.NONE:
                self._show(step, mine[:MOST_SHOWN])
            self.seen = step

    def _show(self, step: int, pictures: list[Picture]) -> None:
        """Each prompt without and with the adapter, beside each other."""
        shown: list[Picture] = []
        for picture in pictures:
            without = self.without.get(picture.preview.place)
            shown += [picture] if without is None else [without, picture]
        beside = "without and with the adapter " if self.without else ""
        self.view.say(f"{beside}after step {step}: " + ", ".join(picture.preview.prompt for picture in pictures))
        size = shutil.get_terminal_size()
        self.view.write(rows_of(self.graphics, shown, size.columns, cell_of(1)))
