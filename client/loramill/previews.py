"""The pictures of a job as they arrive, and the files that they are saved as."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loramill.errors import DownloadError
from loramill.whole_files import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loramill import v1

_LARGEST_BYTES = 64 << 20
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """One preview: what is known of it, and the PNG."""

    preview: v1.TrainingPreview
    content: bytes = field(repr=False)

    @property
    def file_name(self) -> str:
        """Such as `0000100-00.png`; at another strength than 1, `0000100-00-0.5.png`. Names sort by step and prompt."""
        preview = self.preview
        plain = preview.strength == float(preview.step > 0)
        return f"{preview.step:07d}-{preview.place:02d}{'' if plain else f'-{preview.strength:g}'}.png"

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, as the PNG's header says."""
        width, height = struct.unpack(">II", self.content[16:24])
        return width, height


def pictures(messages: Iterator[v1.GetTrainingPreviewsResponse]) -> Iterator[Picture]:
    """Whole pictures of a stream. What breaks off, or is no PNG, is DownloadError."""
    preview: v1.TrainingPreview | None = None
    data: list[bytes] = []
    for message in messages:
        if message.WhichOneof("payload") == "preview":
            if preview is not None:
                yield _whole(preview, data)
            preview, data = message.preview, []
        elif preview is not None and sum(map(len, data)) <= _LARGEST_BYTES:
            data.append(message.data)
    if preview is not None:
        yield _whole(preview, data)


def _whole(preview: v1.TrainingPreview, data: list[bytes]) -> Picture:
    content = b"".join(data)
    if len(content) != preview.size_bytes or not content.startswith(_PNG) or len(content) < 24:
        raise DownloadError(
            f"The preview of prompt {preview.place} after step {preview.step} came with {len(content)} of {preview.size_bytes} "
            "bytes, or is no PNG; fetch it again."
        )
    return Picture(preview, content)


def save_picture(picture: Picture, folder: Path) -> Path:
    """Writes it into the folder under its own name, in the place of what an earlier run drew, and returns the path."""
    path = folder / picture.file_name
    with whole_file(path) as content:
        content.write(picture.content)
    return path
