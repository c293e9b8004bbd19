"""A dataset's files → examples that can be trained on, or every problem at once.

Nothing is left out silently: what cannot be trained on is a problem and stops the job, what is odd a counted warning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.data.buckets import Bucket, buckets
from trainer.data.caption_files import caption_files, raw_caption
from trainer.data.crops import Box
from trainer.data.fetching import LocalFiles
from trainer.data.findings import Findings, Kind
from trainer.data.images import Decoder
from trainer.data.listing import DataFile, Listing, assign_subsets, list_files, stem
from trainer.data.picture_reading import Mask, Picture, PictureReader
from trainer.data.rules import PictureRules, SubsetRules

__all__ = ["DataFile", "Example", "Mask", "Reading", "Summary", "read_dataset"]

_DUPLICATE = Kind(
    "picture has the same content as another of its subset",
    "pictures have the same content as another of their subset",
    "Each is an example of its own, so the content is visited more often.",
)
_NO_MASK = Kind(
    "picture has no mask and counts wholly",
    "pictures have no mask and count wholly",
)


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
    crops: tuple[Box, ...]
    """Where it can be cut: (left, top, right, bottom) of the resized picture. One, or those that a random crop chooses from."""
    subset: int
    """Index of its rules in the subsets given."""
    caption: str
    """As written, on one line, or its alternatives on a line each; `captions.caption_of_visit` makes a visit's from it."""
    background: str | None = None
    """What its picture is laid on, `#rrggbb`; None if nothing of it is transparent."""
    mask: Mask | None = None
    """What of it counts; None for all of it."""


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
    listing = list_files(files, pictures, findings)
    chosen = assign_subsets(listing.pictures, subsets, findings)
    masks = {file: listing.masks.get(stem(file.path)) for file, _ in chosen}
    wanted = [*masks, *filter(None, masks.values()), *caption_files(chosen, subsets, listing)]
    examples: list[Example] = []
    formats: Counter[str] = Counter()
    with LocalFiles(wanted, fetch, work) as local:
        reader = PictureReader(pictures, local, decoder, findings)
        for done, (file, subset) in enumerate(chosen):
            progress(done, len(chosen))
            caption = raw_caption(file, subsets[subset], listing, local, findings)
            picture = reader.read(file, masks[file])
            if picture:
                formats[picture.found.format] += 1
                examples.append(_example(file, subset, local.path(file), picture, caption, pictures))
        progress(len(chosen), len(chosen))
    _warn_of_duplicates(chosen, findings)
    _check_masks(examples, pictures, findings)
    findings.raise_problems()
    return Reading(tuple(examples), findings.warnings, _summary(chosen, examples, formats, subsets, listing))


def _example(
    file: DataFile, subset: int, content: Path, picture: Picture, caption: str, rules: PictureRules
) -> Example:
    return Example(
        id=f"{file.path}@{file.sha256}",
        path=file.path,
        sha256=file.sha256,
        file=content,
        width=picture.found.width,
        height=picture.found.height,
        bucket=picture.fit.bucket,
        resize=picture.fit.resize,
        crops=picture.crops,
        subset=subset,
        caption=caption,
        background=rules.background if "transparent" in picture.found.notes else None,
        mask=picture.mask,
    )


def _check_masks(examples: Sequence[Example], rules: PictureRules, findings: Findings) -> None:
    if rules.masks == "none" or not examples:
        return
    without = [example.path for example in examples if example.mask is None]
    if len(without) < len(examples):
        findings.warning_of(_NO_MASK, without)
    elif rules.masks == "alpha":
        findings.problem(
            "dataset.masks is alpha, but no picture is transparent; "
            "save the pictures with transparency, or set dataset.masks to none."
        )
    else:
        place = f"{rules.mask_folder.strip('/')}/NAME.png" if rules.mask_folder.strip("/") else "NAME.mask.png"
        findings.problem(
            f"dataset.masks is file, but no picture has a mask; upload {place} for a picture NAME.jpg, "
            "or set dataset.masks to none."
        )


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
