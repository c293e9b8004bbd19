"""A dataset's files → examples that can be trained on, or every problem at once.

Nothing is left out silently: what cannot be trained on is a problem and stops the job, what is odd a counted warning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.data.buckets import Bucket, Fit, TooSmall, buckets, fit
from trainer.data.caption_files import caption_files, raw_caption
from trainer.data.fetching import Damaged, LocalFiles
from trainer.data.findings import Findings, Kind, shown
from trainer.data.images import Decoder, PictureInfo, UnreadablePicture
from trainer.data.listing import DataFile, Listing, assign_subsets, list_files, suffix
from trainer.data.rules import PictureRules, SubsetRules

__all__ = ["DataFile", "Example", "Reading", "Summary", "read_dataset"]

_MUCH_LOST = 0.3
_DUPLICATE = Kind(
    "picture has the same content as another of its subset",
    "pictures have the same content as another of their subset",
    "Each is an example of its own, so the content is visited more often.",
)
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
    "transparent": Kind(
        "picture is partly transparent and is laid on white", "pictures are partly transparent and are laid on white"
    ),
}
_EXTENSIONS = {"PNG": {".png"}, "WEBP": {".webp"}, "BMP": {".bmp"}}
_JPEG_EXTENSIONS = {".jpg", ".jpeg", ".jpe", ".jfif"}


@dataclass(frozen=True)
class Example:
    """One image-caption pair and how its picture fills its bucket. Sizes in pixels, (width, height)."""

    id: str
    """Path and content; the same in every run, and the key of the example's random draws."""
    path: str
    sha256: str
    file: Path
    """The content on the local disk."""
    width: int
    """Upright, before resizing; height too."""
    height: int
    bucket: Bucket
    resize: tuple[int, int]
    crop: tuple[int, int, int, int]
    """(left, top, right, bottom) of the resized picture."""
    subset: int
    """Index of its rules in the subsets given."""
    caption: str
    """As written, on one line; `captions.caption_of_visit` makes a visit's caption from it."""


@dataclass(frozen=True)
class Summary:
    """What a dataset is, in numbers for the report."""

    pictures: int
    bytes: int
    visits_per_epoch: int
    subsets: tuple[int, ...]
    """Pictures of each subset."""
    buckets: tuple[tuple[Bucket, int], ...]
    """Pictures of each bucket that is used, largest group first."""
    formats: tuple[tuple[str, int], ...]
    """Pictures of each format, most frequent first."""
    ignored_files: int
    """Files that are neither picture nor caption, hidden ones included."""


@dataclass(frozen=True)
class Reading:
    """A dataset that can be trained on."""

    examples: tuple[Example, ...]
    """In order of path."""
    warnings: tuple[str, ...]
    summary: Summary


def read_dataset(
    files: Sequence[DataFile],
    fetch: Callable[[str, Path], None],
    work: Path,
    subsets: Sequence[SubsetRules],
    pictures: PictureRules,
    activation_tag: str,
    decoder: Decoder,
    progress: Callable[[int, int], None],
) -> Reading:
    """Checks every file and decodes every picture once.

    `fetch` writes the content with a SHA-256 to a path, and is called from several threads. Contents stay in `work`,
    each named by its SHA-256, and those already there are used again. No subsets means one of everything, captions from
    files. `progress` is told (pictures checked, pictures in all). Raises UserError with all problems, and whatever
    `fetch` raises.
    """
    subsets = tuple(subsets) or (SubsetRules(),)
    findings = Findings()
    if not buckets(pictures.resolution, pictures.bucket_step):
        findings.problem(
            f"dataset.bucket_step {pictures.bucket_step} is above dataset.resolution {pictures.resolution}; "
            "make it smaller."
        )
        findings.raise_problems()
    listing = list_files(files, findings)
    chosen = assign_subsets(listing.pictures, subsets, findings)
    wanted = [*(file for file, _ in chosen), *caption_files(chosen, subsets, listing)]
    examples: list[Example] = []
    formats: Counter[str] = Counter()
    with LocalFiles(wanted, fetch, work) as local:
        for done, (picture, subset) in enumerate(chosen):
            progress(done, len(chosen))
            caption = raw_caption(picture, subsets[subset].captions, activation_tag, listing, local, findings)
            found = _measured(picture, local, decoder, findings)
            fitted = _fitted(picture, found, pictures, findings) if found else None
            if found and fitted:
                formats[found.format] += 1
                examples.append(_example(picture, subset, local.path(picture), found, fitted, caption))
        progress(len(chosen), len(chosen))
    _warn_of_duplicates(chosen, findings)
    findings.raise_problems()
    return Reading(tuple(examples), findings.warnings, _summary(chosen, examples, formats, subsets, listing))


def _example(picture: DataFile, subset: int, file: Path, found: PictureInfo, fitted: Fit, caption: str) -> Example:
    return Example(
        id=f"{picture.path}@{picture.sha256}",
        path=picture.path,
        sha256=picture.sha256,
        file=file,
        width=found.width,
        height=found.height,
        bucket=fitted.bucket,
        resize=fitted.resize,
        crop=fitted.crop,
        subset=subset,
        caption=caption,
    )


def _measured(picture: DataFile, local: LocalFiles, decoder: Decoder, findings: Findings) -> PictureInfo | None:
    """What a picture is; None if it cannot be trained on."""
    try:
        found = decoder.probe(local.path(picture))
    except Damaged as damage:
        findings.problem(f"Picture {shown(picture.path)} {damage}; upload the dataset again.")
        return None
    except UnreadablePicture as problem:
        findings.problem(f"Picture {shown(picture.path)} {problem.reason}.")
        return None
    if suffix(picture.path) not in _EXTENSIONS.get(found.format, _JPEG_EXTENSIONS):
        findings.warning_of(_WRONG_EXTENSION, [picture.path])
    for note in found.notes:
        findings.warning_of(_NOTES[note], [picture.path])
    return found


def _fitted(picture: DataFile, found: PictureInfo, rules: PictureRules, findings: Findings) -> Fit | None:
    """How a picture fills its bucket; None if it is too small for any."""
    try:
        fitted = fit(found.width, found.height, rules)
    except TooSmall as problem:
        findings.problem(
            f"Picture {shown(picture.path)} is too small: {problem}; "
            "use a larger one, remove it, or set dataset.upscale."
        )
        return None
    if rules.buckets and fitted.lost > _MUCH_LOST:
        findings.warning_of(_CUT, [picture.path])
    if fitted.shrunk:
        findings.warning_of(_SMALL, [picture.path])
    return fitted


def _warn_of_duplicates(chosen: Sequence[tuple[DataFile, int]], findings: Findings) -> None:
    seen: set[tuple[str, int]] = set()
    for picture, subset in chosen:
        if (picture.sha256, subset) in seen:
            findings.warning_of(_DUPLICATE, [picture.path])
        seen.add((picture.sha256, subset))


def _summary(
    chosen: Sequence[tuple[DataFile, int]],
    examples: Sequence[Example],
    formats: Counter[str],
    subsets: Sequence[SubsetRules],
    listing: Listing,
) -> Summary:
    per_subset = Counter(example.subset for example in examples)
    return Summary(
        pictures=len(examples),
        bytes=sum(picture.size for picture, _ in chosen),
        visits_per_epoch=sum(subsets[example.subset].repeats for example in examples),
        subsets=tuple(per_subset[index] for index in range(len(subsets))),
        buckets=tuple(Counter(example.bucket for example in examples).most_common()),
        formats=tuple(formats.most_common()),
        ignored_files=listing.ignored,
    )
