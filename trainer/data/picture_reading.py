"""One picture file of a dataset → how it fills its bucket, where it is cut and what of it counts; or why it cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.data.buckets import Fit, TooSmall, fit
from trainer.data.crops import Box, detail_of, richest, sketch_size, slack, spread
from trainer.data.fetching import Damaged, LocalFiles
from trainer.data.findings import Findings, Kind, shown
from trainer.data.images import Decoder, PictureInfo, UnreadablePicture
from trainer.data.listing import DataFile, suffix
from trainer.data.rules import MaskSource, PictureRules

_MUCH_LOST = 0.3
_LEAST_SIDE = 8
"""Pixels: one latent. Below it there is nothing to learn, however much a picture is enlarged."""
_LONGEST = 20
"""Times its other side. Even the longest bucket, 4:1, would leave out four fifths of such a picture."""
_SAME_ASPECT = 0.02
"""How much the aspect ratios of a picture and its mask may differ, relatively."""
_WRONG_EXTENSION = Kind(
    "picture is of another kind than its extension says", "pictures are of another kind than their extensions say"
)
_SMALL = Kind(
    "picture is smaller than its bucket and is trained on at its own size",
    "pictures are smaller than their buckets and are trained on at their own sizes",
    "Set dataset.upscale to enlarge small pictures.",
)
_CUT = Kind(
    f"picture loses more than {_MUCH_LOST:.0%} of its area to the crop",
    f"pictures lose more than {_MUCH_LOST:.0%} of their area to the crop",
)
_NOTES = {
    "exif": Kind(
        "picture has damaged EXIF data and is taken to be upright",
        "pictures have damaged EXIF data and are taken to be upright",
    ),
    "profile": Kind(
        "picture has a damaged colour profile and is taken to be in sRGB",
        "pictures have damaged colour profiles and are taken to be in sRGB",
    ),
}
_EXTENSIONS = {"PNG": {".png"}, "WEBP": {".webp"}, "BMP": {".bmp"}, "AVIF": {".avif"}}
_JPEG_EXTENSIONS = {".jpg", ".jpeg", ".jpe", ".jfif"}


@dataclass(frozen=True)
class Mask:
    """Where it stands what of a picture counts."""

    source: MaskSource
    sha256: str
    """Of the content that holds it: the picture itself, or a file of its own."""
    file: Path
    path: str
    """Its name in the dataset."""


@dataclass(frozen=True)
class Picture:
    """A picture that can be trained on."""

    found: PictureInfo
    fit: Fit
    crops: tuple[Box, ...]
    mask: Mask | None


class PictureReader:
    """Looks at the pictures of a dataset, one after another."""

    def __init__(self, rules: PictureRules, local: LocalFiles, decoder: Decoder, findings: Findings) -> None:
        self._rules, self._local, self._decoder, self._findings = rules, local, decoder, findings
        self._transparent = Kind(
            f"picture is partly transparent and is laid on {rules.background}",
            f"pictures are partly transparent and are laid on {rules.background}",
        )

    def read(self, picture: DataFile, mask: DataFile | None) -> Picture | None:
        """The picture; None if it cannot be trained on, which then stands in the findings."""
        found = self._measured(picture)
        if found is None:
            return None
        fitted = self._fitted(picture, found)
        shown_by, usable = self._mask(picture, found, mask)
        if fitted is None or not usable:
            return None
        return Picture(found, fitted, self._crops(self._local.path(picture), found, fitted, shown_by), shown_by)

    def _probed(self, what: str, file: DataFile) -> PictureInfo | None:
        try:
            return self._decoder.probe(self._local.path(file))
        except Damaged as damage:
            self._findings.problem(f"{what} {shown(file.path)} {damage}; upload the dataset again.")
        except UnreadablePicture as problem:
            self._findings.problem(f"{what} {shown(file.path)} {problem.reason}.")
        return None

    def _measured(self, picture: DataFile) -> PictureInfo | None:
        found = self._probed("Picture", picture)
        if found is None:
            return None
        if suffix(picture.path) not in _EXTENSIONS.get(found.format, _JPEG_EXTENSIONS):
            self._findings.warning_of(_WRONG_EXTENSION, [picture.path])
        for note in found.notes:
            if note != "transparent":
                self._findings.warning_of(_NOTES[note], [picture.path])
            elif self._rules.masks != "alpha":
                self._findings.warning_of(self._transparent, [picture.path])
        shortest, longest = sorted((found.width, found.height))
        if shortest < _LEAST_SIDE or longest > _LONGEST * shortest:
            limit = (
                f"a side is shorter than {_LEAST_SIDE} pixels"
                if shortest < _LEAST_SIDE
                else f"one side is more than {_LONGEST} times the other"
            )
            self._findings.problem(
                f"Picture {shown(picture.path)} has {found.width}×{found.height} pixels, which cannot be learnt from: {limit}; "
                "use another one, or remove it."
            )
            return None
        return found

    def _fitted(self, picture: DataFile, found: PictureInfo) -> Fit | None:
        """How a picture fills its bucket; None if it is too small for any."""
        try:
            fitted = fit(found.width, found.height, self._rules)
        except TooSmall as problem:
            self._findings.problem(
                f"Picture {shown(picture.path)} is too small: {problem}; "
                "use a larger one, remove it, or set dataset.upscale."
            )
            return None
        if self._rules.buckets and fitted.lost > _MUCH_LOST:
            self._findings.warning_of(_CUT, [picture.path])
        if fitted.shrunk:
            self._findings.warning_of(_SMALL, [picture.path])
        return fitted

    def _mask(self, picture: DataFile, found: PictureInfo, mask: DataFile | None) -> tuple[Mask | None, bool]:
        """The picture's mask, if it has one, and whether it can be used."""
        if self._rules.masks == "alpha":
            file = self._local.path(picture)
            return (Mask("alpha", picture.sha256, file, picture.path) if "transparent" in found.notes else None), True
        if self._rules.masks == "none" or mask is None:
            return None, True
        measured = self._probed("Mask", mask)
        if measured is None:
            return None, False
        if abs(measured.width * found.height / (measured.height * found.width) - 1) > _SAME_ASPECT:
            self._findings.problem(
                f"Mask {shown(mask.path)} has {measured.width}×{measured.height} pixels and its picture "
                f"{found.width}×{found.height}; give it the same aspect ratio, the picture upright."
            )
            return None, False
        return Mask("file", mask.sha256, self._local.path(mask), mask.path), True

    def _crops(self, file: Path, found: PictureInfo, fitted: Fit, mask: Mask | None) -> tuple[Box, ...]:
        if self._rules.crop == "random":
            return spread(fitted, self._rules.crop_variants)
        if self._rules.crop == "center" or slack(fitted) == (0, 0):
            return (fitted.crop,)
        size = sketch_size(found.width, found.height)
        whole = (0, 0, *size)
        if mask is not None:  # what counts is known, so that it need not be guessed
            return (richest(fitted, self._decoder.mask(mask.file, size, whole, source=mask.source)[..., 0] / 255.0),)
        pixels = self._decoder.pixels(file, size, whole, background=self._rules.background)
        return (richest(fitted, detail_of(np.ascontiguousarray(pixels))),)
