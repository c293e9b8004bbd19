"""The decision: which layout a source has, what of it is taken, and everything that is wrong with it. Pure but for reading."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from loramill import v1
from loramill.inputs import imagefolder, kohya_folders, kohya_toml, webdataset
from loramill.inputs.captions import beside
from loramill.inputs.checks import check_files
from loramill.inputs.names import ending, is_litter, is_picture
from loramill.inputs.result import Findings, Input, Layout, Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loramill.inputs.kohya_toml import Configuration
    from loramill.inputs.result import Entry, InputFile
    from loramill.inputs.source import Source

_SHOWN_ENDINGS = "jpg, png, webp, avif or bmp"


def read_input(
    source: Source,
    configuration: Configuration | None = None,
    *,
    layout: Layout | None = None,
    caption_column: str = "",
) -> Input:
    """What becomes a dataset. `layout` is found out where it is not told.

    Raises InputError with everything that is wrong, at once.
    """
    found = Findings(problems=list(source.problems))
    entries = _usable(source.entries, found)
    if configuration is None and layout in (None, Layout.KOHYA_TOML):
        configuration = _configuration(source, entries, layout, found)
    chosen = layout or _layout(entries, configuration)
    files, parts, suggested = _read(chosen, source, entries, configuration, caption_column, found)
    ordered = sorted(files, key=lambda file: file.label)
    if not any(is_picture(file.label) for file in ordered) and not found.problems:
        found.problems.append(_no_picture(source.entries))
    check_files(ordered, parts, source.read, found)
    found.raise_problems(source.title)
    return Input(chosen, tuple(ordered), tuple(parts), suggested, tuple(found.ignored), tuple(found.notes))


def _usable(entries: Sequence[Entry], found: Findings) -> list[Entry]:
    """The files that any layout may read."""
    usable = []
    for entry in entries:
        if is_litter(entry.label):
            found.ignore([entry.label], "hidden")
        elif entry.kind != "file":
            found.ignore([entry.label], entry.kind)
        else:
            usable.append(entry)
    return usable


def _configuration(
    source: Source, entries: Sequence[Entry], layout: Layout | None, found: Findings
) -> Configuration | None:
    """The one dataset configuration at the top of a source."""
    candidates = [
        (entry.label, content)
        for entry in entries
        if ending(entry.label) == ".toml" and "/" not in entry.label and entry.size <= kohya_toml.LARGEST
        if kohya_toml.is_configuration(entry.label, content := source.read(entry.label, kohya_toml.LARGEST), found)
    ]
    if len(candidates) > 1:
        names = " and ".join(label for label, _ in candidates)
        found.problems.append(f"{names} are dataset configurations; name the one that is meant instead of the folder.")
    if layout is Layout.KOHYA_TOML and not candidates:
        none = "There is no TOML file with [[datasets]] at its top; name it, or choose another --layout."
        found.problems += found.notes or [none]
    return kohya_toml.in_source(*candidates[0], entries) if len(candidates) == 1 else None


def _layout(entries: Sequence[Entry], configuration: Configuration | None) -> Layout:
    if configuration is not None:
        return Layout.KOHYA_TOML
    if imagefolder.metadata_of(entries):
        return Layout.IMAGEFOLDER
    if kohya_folders.has_folders(entry.label for entry in entries):
        return Layout.KOHYA_FOLDERS
    return Layout.WEBDATASET if webdataset.has_samples(entries) else Layout.PLAIN


def _read(
    layout: Layout,
    source: Source,
    entries: Sequence[Entry],
    configuration: Configuration | None,
    column: str,
    found: Findings,
) -> tuple[list[InputFile], list[Part], v1.SuggestedSpec]:
    none = v1.SuggestedSpec()
    if layout is Layout.KOHYA_TOML and configuration is not None:
        return kohya_toml.read_configuration(configuration, entries, source.read, found)
    if layout is Layout.IMAGEFOLDER:
        return imagefolder.read_metadata(entries, source.read, column, found), [], none
    if layout is Layout.WEBDATASET:
        return webdataset.read_samples(entries, source.read, column, found), [], none
    files = beside(entries, source.read, found)
    if layout is Layout.KOHYA_FOLDERS:
        return files, *kohya_folders.parts_of(files, found)
    if unread := imagefolder.unread_metadata(entries):
        found.notes.append(f"{unread[0]} is not read; write its captions to metadata.jsonl or metadata.csv.")
    return files, [], none


def _no_picture(entries: Sequence[Entry]) -> str:
    """What there is instead."""
    kinds = Counter(ending(entry.label) or "without an ending" for entry in entries if entry.kind == "file")
    what = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
    links = sum(entry.kind != "file" for entry in entries)
    what += f"{', ' if what else ''}{links} links or special files" if links else ""
    return f"There is no picture, but {what or 'nothing at all'}; it needs files that end in {_SHOWN_ENDINGS}."
