"""Pixels of untrusted picture files, decoded in a child process with little memory, little time and no rights to write.

A bug in a decoder, a bomb or a crash costs one child; the picture is named, and the next one gets a new child.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import PIL
from numpy.typing import NDArray

from trainer.data.decoding_process import DecodingProcess, Died, Killed
from trainer.data.decoding_protocol import Limits
from trainer.data.rules import MaskSource
from trainer.errors import UserError

RECIPE = f"loramill 1, Pillow {PIL.__version__}"
"""Names the way from file to pixels; it belongs into the key of whatever is kept of them."""


class UnreadablePicture(UserError):
    """A picture that cannot be trained on. `reason` goes on after the picture's name and ends with the remedy."""

    def __init__(self, name: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"Picture {name} {reason}.")


@dataclass(frozen=True)
class PictureInfo:
    """What a picture is, found out by decoding all of it."""

    width: int
    """Pixels, after the EXIF orientation is applied; height too."""
    height: int
    format: str
    """By content: JPEG, MPO, PNG, WEBP, AVIF or BMP."""
    mode: str
    """Pillow's name of its colours: RGB, RGBA, L, LA, P, CMYK, I;16, …"""
    notes: tuple[str, ...] = ()
    """`exif`: orientation unreadable, taken as upright. `profile`: colour profile unreadable, taken as sRGB.
    `transparent`: partly so, laid on the background."""


class Decoder:
    """Decodes pictures one at a time; not to be shared between threads. A context manager: its child lives in it."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._child: DecodingProcess | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._dismiss()

    @property
    def child_pid(self) -> int | None:
        """Process id of the child, if one lives."""
        return self._child.pid if self._child else None

    def probe(self, path: Path, *, name: str | None = None) -> PictureInfo:
        """Decodes a picture wholly and says what it is. Messages show `name`, or the path. Raises UnreadablePicture."""
        answer, _ = self._ask(path, name, {"do": "probe", "path": str(path)}, payload_bytes=0)
        return PictureInfo(
            width=int(answer["width"]),
            height=int(answer["height"]),
            format=str(answer["format"]),
            mode=str(answer["mode"]),
            notes=tuple(str(note) for note in answer["notes"]),
        )

    def pixels(
        self,
        path: Path,
        resize: tuple[int, int],
        crop: tuple[int, int, int, int],
        *,
        background: str = "#ffffff",
        name: str | None = None,
    ) -> NDArray[np.uint8]:
        """The picture resized to (width, height), of that `crop` (left, top, right, bottom): uint8 (H, W, 3), sRGB.

        What is transparent shows the background, `#rrggbb`. Raises UnreadablePicture.
        """
        request = {"do": "pixels", "path": str(path), "background": background}
        return self._part(path, request, resize, crop, 3, name)

    def mask(
        self,
        path: Path,
        resize: tuple[int, int],
        crop: tuple[int, int, int, int],
        *,
        source: MaskSource,
        name: str | None = None,
    ) -> NDArray[np.uint8]:
        """What counts of a picture, or of a picture that is a mask file, transformed as `pixels`: uint8 (H, W, 1), 0 to 255.

        Raises UnreadablePicture.
        """
        return self._part(path, {"do": "mask", "path": str(path), "source": source}, resize, crop, 1, name)

    def _part(
        self,
        path: Path,
        request: dict[str, Any],
        resize: tuple[int, int],
        crop: tuple[int, int, int, int],
        channels: int,
        name: str | None,
    ) -> NDArray[np.uint8]:
        width, height = crop[2] - crop[0], crop[3] - crop[1]
        if not (0 <= crop[0] < crop[2] <= resize[0] and 0 <= crop[1] < crop[3] <= resize[1]):
            raise ValueError(f"Crop {crop} does not lie inside {resize}.")
        request |= {"resize": resize, "crop": crop}
        _, payload = self._ask(path, name, request, payload_bytes=width * height * channels)
        return np.frombuffer(payload, dtype=np.uint8).reshape(height, width, channels)

    def _ask(
        self, path: Path, name: str | None, request: dict[str, Any], *, payload_bytes: int
    ) -> tuple[dict[str, Any], bytearray]:
        try:
            answer, payload = self._answer(request, payload_bytes)
        except Died as death:
            self._dismiss()
            raise UnreadablePicture(name or str(path), f"{death}; save it anew or remove it") from death
        if answer.pop("cpu_seconds") > self._limits.cpu_seconds / 2:
            self._dismiss()
        if "problem" in answer:
            raise UnreadablePicture(name or str(path), str(answer["problem"]))
        return answer, payload

    def _answer(self, request: dict[str, Any], payload_bytes: int) -> tuple[dict[str, Any], bytearray]:
        with suppress(Killed):
            return self._living_child().ask(request, payload_bytes)
        # Short of memory, the kernel kills whatever is large. One such death may have nothing to do with the picture.
        self._dismiss()
        return self._living_child().ask(request, payload_bytes)

    def _living_child(self) -> DecodingProcess:
        if self._child is not None and not self._child.is_alive():
            self._dismiss()
        if self._child is None:
            self._child = DecodingProcess(self._limits)
        return self._child

    def _dismiss(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.close()
