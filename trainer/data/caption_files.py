"""Which raw caption a picture has: from a file beside it, or the subset's fixed text."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainer.data.captions import has_tag_in_sentence, parse_tags
from trainer.data.fetching import Damaged, LocalFiles
from trainer.data.findings import Findings, Kind, shown
from trainer.data.listing import DataFile, Listing, stem
from trainer.data.rules import CaptionRules, SubsetRules

LARGEST = 1 << 16
"""Bytes of a caption file; what is longer is something else."""

_MISSING = Kind(
    "picture has no caption",
    "pictures have no caption",
    "Put a .txt file of the same name beside each, or set dataset.subsets.captions.source to fixed or file_or_fixed, "
    "with a text.",
)
_UNUSED = Kind(
    "picture has a caption file that is not read, because the source of captions is fixed",
    "pictures have caption files that are not read, because the source of captions is fixed",
)
_EMPTY = Kind("caption file is empty", "caption files are empty")
_LINES = Kind(
    "caption file has several lines, which were joined", "caption files have several lines, which were joined"
)
_TAG_INSIDE = Kind(
    "picture has the activation tag in the middle of its caption, and once more in front",
    "pictures have the activation tag in the middle of their captions, and once more in front",
    "Remove it from the captions, or write it as a tag of its own between commas.",
)


def caption_files(
    chosen: Sequence[tuple[DataFile, int]], subsets: Sequence[SubsetRules], listing: Listing
) -> Iterator[DataFile]:
    """The files that must be read for the captions of these pictures."""
    for picture, subset in chosen:
        if subsets[subset].captions.source != "fixed":
            yield from (file for file in listing.captions.get(stem(picture.path), ()) if file.size <= LARGEST)


def raw_caption(picture: DataFile, subset: SubsetRules, listing: Listing, local: LocalFiles, findings: Findings) -> str:
    """A picture's caption as written, on one line, or its alternatives on a line each.

    What is wrong with it goes to `findings`, and "" is returned.
    """
    rules = subset.captions
    files = listing.captions.get(stem(picture.path), ())
    if rules.source == "fixed":
        if files:
            findings.warning_of(_UNUSED, [picture.path])
        text = rules.text
    elif files:
        text = _read(picture, files, local, rules, findings)
    elif rules.source == "file_or_fixed":
        text = rules.text
    else:
        _say_missing(picture, listing, findings)
        return ""
    lines = text.splitlines() if rules.lines_as_alternatives else [text]
    text = "\n".join(line for line in (" ".join(line.split()) for line in lines) if line)
    if has_tag_in_sentence(text, subset.activation_tag, rules):
        findings.warning_of(_TAG_INSIDE, [picture.path])
    return text


def _say_missing(picture: DataFile, listing: Listing, findings: Findings) -> None:
    name = stem(picture.path)
    for other, files in listing.captions.items():
        if other.lower() == name.lower():
            findings.problem(
                f"Picture {shown(picture.path)} has no caption: {shown(files[0].path)} differs from its name in upper "
                "and lower case; rename one of them."
            )
            return
    findings.problem_of(_MISSING, [picture.path])


def _read(
    picture: DataFile, files: Sequence[DataFile], local: LocalFiles, rules: CaptionRules, findings: Findings
) -> str:
    if len({file.sha256 for file in files}) > 1:
        names = " and ".join(shown(file.path) for file in files)
        findings.problem(
            f"Picture {shown(picture.path)} has {len(files)} captions that differ, {names}; keep one of them."
        )
        return ""
    file = files[0]
    if file.size > LARGEST:
        findings.problem(
            f"Caption file {shown(file.path)} has {file.size} bytes, more than {LARGEST}; it should hold one caption."
        )
        return ""
    try:
        text = _decoded(local.path(file))
    except Damaged as damage:
        findings.problem(f"Caption file {shown(file.path)} {damage}; upload the dataset again.")
        return ""
    except UnicodeDecodeError as error:
        findings.problem(f"Caption file {shown(file.path)} is not UTF-8 text ({_why(error)}); save it as UTF-8.")
        return ""
    if not parse_tags(text, rules.separator):
        findings.warning_of(_EMPTY, [file.path])
    if len(text.strip().splitlines()) > 1 and not rules.lines_as_alternatives:
        findings.warning_of(_LINES, [file.path])
    return text


def _decoded(path: Path) -> str:
    """The text of a file in UTF-8, without the byte order mark that some editors put first."""
    return path.read_bytes().removeprefix(codecs.BOM_UTF8).decode("utf-8")


def _why(error: UnicodeDecodeError) -> str:
    if error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "it looks like UTF-16"
    return f"byte {error.start} is {error.object[error.start]:#04x}"
