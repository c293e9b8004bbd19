"""Which file of a dataset is a picture, which is whose caption or mask, which subset it is in. Pure; looks at names only."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from loramill.inputs.names import CAPTIONS, FOREIGN_PICTURES, LITTER, PICTURES
from trainer.data.findings import Findings, Kind, shown
from trainer.data.rules import PictureRules, SubsetRules

_REPEATS_FOLDER = re.compile(r"(?:^|/)(([0-9]+)_[^/]+/)[^/]+$")
_MASK = re.compile(r"(?P<stem>.*[^/])(?:\.mask|-masklabel)\.png", re.IGNORECASE)
"""Masks beside their pictures: `1.mask.png`, or OneTrainer's `1-masklabel.png`."""
_SHA256 = re.compile(r"[0-9a-f]{64}")

_FOREIGN = Kind(
    "file is a picture of a kind that is not read",
    "files are pictures of kinds that are not read",
    "Convert to JPEG, PNG, WebP, AVIF or BMP, or remove what is not needed.",
)
_OTHER = Kind(
    "file is neither picture nor caption and is ignored", "files are neither picture nor caption and are ignored"
)
_UNUSUAL = Kind(
    "path has a backslash or spaces at an end",
    "paths have a backslash or spaces at an end",
    "Folders are parted by `/` only.",
)
_ORPHAN = Kind(
    "caption file has no picture of its name and is ignored",
    "caption files have no picture of their name and are ignored",
)
_UNUSED_MASK = Kind(
    "mask file is not read", "mask files are not read", "Set dataset.masks to file to learn from what they show only."
)
_ORPHAN_MASK = Kind(
    "mask file has no picture of its name and is ignored", "mask files have no picture of their name and are ignored"
)
_CASE = Kind(
    "picture's name differs from another's in upper and lower case only",
    "pictures' names differ from another's in upper and lower case only",
    "Each is an example of its own.",
)
_SAME_STEM = Kind(
    "picture differs from another in its extension only; they share their caption",
    "pictures differ from another in their extension only; they share their caption",
)
_NO_SUBSET = Kind(
    "picture is in no subset and is not trained on",
    "pictures are in no subset and are not trained on",
    "Add a subset to dataset.subsets, or one with an empty path_prefix for all the rest.",
)


@dataclass(frozen=True)
class DataFile:
    """One file of a dataset. `path` is a label with `/` between its parts; it never becomes a path on a disk."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Listing:
    """The files of a dataset by what they are, each in order of path."""

    pictures: tuple[DataFile, ...] = ()
    captions: dict[str, tuple[DataFile, ...]] = field(default_factory=dict)
    """By stem."""
    masks: dict[str, DataFile] = field(default_factory=dict)
    """By the stem of their picture."""
    ignored: int = 0


def stem(path: str) -> str:
    """The path without extension, by which captions find pictures; normalised, for macOS spells é as e and accent."""
    return unicodedata.normalize("NFC", str(PurePosixPath(path).with_suffix("")))


def suffix(path: str) -> str:
    """The extension in lower case, with its dot."""
    return PurePosixPath(path).suffix.lower()


def masked_stem(path: str, mask_folder: str) -> str | None:
    """The stem of the picture that a file is the mask of; None if it is no mask. Masks in a folder have their picture's path."""
    path, folder = unicodedata.normalize("NFC", path), unicodedata.normalize("NFC", mask_folder.strip("/"))
    if folder and path.startswith(f"{folder}/") and suffix(path) in PICTURES:
        return stem(path.removeprefix(f"{folder}/"))
    match = _MASK.fullmatch(path)
    return match["stem"] if match else None


def list_files(files: Iterable[DataFile], rules: PictureRules, findings: Findings) -> Listing:
    """Sorts files by their names, and finds what is wrong with those."""
    in_order = sorted(files, key=lambda file: file.path)
    _check_paths(in_order, findings)
    sound = [file for file in in_order if _is_readable(file) and not _is_litter(file.path)]
    owners = {file: owner for file in sound if (owner := masked_stem(file.path, rules.mask_folder)) is not None}
    readable = [file for file in sound if file not in owners]
    pictures = tuple(file for file in readable if suffix(file.path) in PICTURES)
    captions: dict[str, tuple[DataFile, ...]] = {}
    for file in readable:
        if suffix(file.path) in CAPTIONS:
            captions[stem(file.path)] = (*captions.get(stem(file.path), ()), file)
    foreign = [file for file in readable if suffix(file.path) in FOREIGN_PICTURES]
    others = [file for file in readable if suffix(file.path) not in {*PICTURES, *CAPTIONS, *FOREIGN_PICTURES}]
    findings.problem_of(_FOREIGN, (file.path for file in foreign))
    findings.warning_of(_OTHER, (file.path for file in others))
    if not pictures:
        findings.problem(_no_picture(readable))
    _check_names(pictures, findings)
    stems = {stem(file.path) for file in (*pictures, *foreign)}
    findings.warning_of(_ORPHAN, (file.path for key, row in captions.items() if key not in stems for file in row))
    masks = _masks(owners, stems, rules, findings)
    return Listing(pictures, captions, masks, ignored=len(in_order) - len(readable) - len(masks) + len(others))


def assign_subsets(
    pictures: Sequence[DataFile], subsets: Sequence[SubsetRules], findings: Findings
) -> tuple[tuple[DataFile, int], ...]:
    """Each picture with the index of its subset: of those whose prefix its path starts with, that of the longest."""
    prefixes = [unicodedata.normalize("NFC", subset.path_prefix) for subset in subsets]
    for prefix, count in Counter(prefixes).items():
        if count > 1:
            findings.problem(f"dataset.subsets has path_prefix {shown(prefix)} {count} times; give it once.")
    assigned: list[tuple[DataFile, int]] = []
    for picture in pictures:
        path = unicodedata.normalize("NFC", picture.path)
        matches = [index for index, prefix in enumerate(prefixes) if path.startswith(prefix)]
        if matches:
            assigned.append((picture, max(matches, key=lambda index: len(prefixes[index]))))
        else:
            findings.warning_of(_NO_SUBSET, [picture.path])
    used = {prefixes[index] for _, index in assigned}
    if pictures:
        for prefix in sorted(set(prefixes) - used):
            findings.problem(_no_match(prefix, pictures))
    if not any(prefixes):
        _warn_of_repeats_folders(pictures, findings)
    return tuple(assigned)


def _masks(
    owners: dict[DataFile, str], stems: set[str], rules: PictureRules, findings: Findings
) -> dict[str, DataFile]:
    if rules.masks != "file":
        findings.warning_of(_UNUSED_MASK, (file.path for file in owners))
        return {}
    masks: dict[str, DataFile] = {}
    for file, owner in owners.items():
        other = masks.setdefault(owner, file)
        if other is not file:
            findings.problem(f"Masks {shown(other.path)} and {shown(file.path)} are of one picture; keep one of them.")
    findings.warning_of(_ORPHAN_MASK, (file.path for owner, file in masks.items() if owner not in stems))
    return {owner: file for owner, file in masks.items() if owner in stems}


def _is_readable(file: DataFile) -> bool:
    return _SHA256.fullmatch(file.sha256) is not None


def _is_litter(path: str) -> bool:
    return any(part.startswith(".") or part in LITTER for part in path.split("/"))


def _check_paths(files: Sequence[DataFile], findings: Findings) -> None:
    for path, count in Counter(file.path for file in files).items():
        if count > 1:
            findings.problem(f"The dataset lists {shown(path)} {count} times; upload it anew, with each file once.")
        if any(part in ("", ".", "..") for part in path.split("/")) or any(
            unicodedata.category(c) == "Cc" for c in path
        ):
            findings.problem(f"The path {shown(path)} is not allowed; rename the file and upload the dataset anew.")
        if "\\" in path or any(part != part.strip() for part in path.split("/")):
            findings.warning_of(_UNUSUAL, [path])
    for file in files:
        if not _is_readable(file):
            findings.problem(f"File {shown(file.path)} is listed without a SHA-256; upload the dataset anew.")


def _check_names(pictures: Sequence[DataFile], findings: Findings) -> None:
    seen: dict[str, str] = {}
    for picture in pictures:
        name = stem(picture.path)
        other = seen.setdefault(name.lower(), name)
        if other != name:
            findings.warning_of(_CASE, [picture.path])
    for name, count in Counter(stem(picture.path) for picture in pictures).items():
        if count > 1:
            findings.warning_of(_SAME_STEM, [picture.path for picture in pictures if stem(picture.path) == name][1:])


def _no_picture(files: Sequence[DataFile]) -> str:
    found = Counter(suffix(file.path) or "without extension" for file in files).most_common(5)
    what = "it has " + ", ".join(f"{count} {name}" for name, count in found) if found else "it has no files at all"
    return (
        f"The dataset has no picture (.jpg, .png, .webp, .avif or .bmp): {what}; "
        "upload pictures, with a .txt caption beside each."
    )


def _no_match(prefix: str, pictures: Sequence[DataFile]) -> str:
    folders = sorted({picture.path.rpartition("/")[0] for picture in pictures})
    there = ", ".join(shown(f"{folder}/") if folder else "the top folder" for folder in folders[:5])
    more = f" and {len(folders) - 5} more" if len(folders) > 5 else ""
    return (
        f"Subset with path_prefix {shown(prefix)} has no picture that is not in a subset with a longer one; "
        f"there are pictures in {there}{more}."
    )


def _warn_of_repeats_folders(pictures: Sequence[DataFile], findings: Findings) -> None:
    folders = sorted({match.groups() for picture in pictures if (match := _REPEATS_FOLDER.search(picture.path))})
    if folders:
        name, repeats = folders[0]
        count = "One folder is" if len(folders) == 1 else f"{len(folders)} folders are"
        findings.warning(
            f"{count} named as other trainers write repeats, such as {shown(name)}; names are not interpreted. "
            f"If repeats are meant, set dataset.subsets with path_prefix {shown(name)} and repeats {int(repeats)}."
        )
