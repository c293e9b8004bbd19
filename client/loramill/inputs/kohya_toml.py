"""A dataset configuration of kohya's scripts, in TOML: folders with repeats and caption rules of their own. Pure.

Keys of a subset count before those of its dataset, these before [general]. An `image_dir` is read without the folders in it.
"""

from __future__ import annotations

import posixpath
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loramill import v1
from loramill.errors import InputError
from loramill.foreign.kohya_dataset import DATASET_ROWS, SUBSET_ROWS
from loramill.inputs.captions import beside
from loramill.inputs.kohya_rules import ROWS, is_given, set_field, unknown_key, unsupported_key
from loramill.inputs.names import CAPTIONS, folder_of, is_mask, is_picture, quoted, stem
from loramill.inputs.result import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loramill.inputs.captions import Read
    from loramill.inputs.result import Entry, Findings, InputFile

LARGEST = 4 << 20
"""Bytes of a configuration."""
_SUBSET_KEYS = frozenset(row.key for row in SUBSET_ROWS)
_DATASET_KEYS = frozenset(row.key for row in DATASET_ROWS)
_CAPTION_ENDING = ".caption"
"""What the scripts read where nothing is said."""


@dataclass(frozen=True)
class Configuration:
    """A dataset configuration; `folders` says where each `image_dir` that is there lies in the source, without `/` at the end."""

    name: str
    content: bytes
    folders: Mapping[str, str]


@dataclass(frozen=True)
class _Subset:
    place: str
    """Where it stands, for sentences."""
    values: Mapping[str, Any]
    general: Mapping[str, Any] = field(default_factory=dict)

    @property
    def image_dir(self) -> str:
        value = self.values.get("image_dir")
        return value if isinstance(value, str) else ""


def is_configuration(label: str, content: bytes, found: Findings) -> bool:
    """Whether a TOML file is a dataset configuration; one that cannot be read is noted."""
    try:
        return "datasets" in _parsed(label, content)
    except InputError as error:
        found.notes.append(f"{error} It is ignored.")
        return False


def image_folders(content: bytes) -> tuple[str, ...]:
    """Every `image_dir`, as written. Raises InputError for what is not TOML."""
    return tuple(dict.fromkeys(subset.image_dir for subset in _subsets(_parsed("", content)) if subset.image_dir))


def in_source(label: str, content: bytes, entries: Sequence[Entry]) -> Configuration:
    """A configuration that lies in a source: folders are relative to its own, and must lie in the source."""
    there = {folder_of(entry.label) for entry in entries}
    folders = {}
    for image_dir in image_folders(content):
        folder = posixpath.normpath(folder_of(label) + image_dir.replace("\\", "/"))
        if any(other.startswith(f"{folder}/") for other in there) or folder == ".":
            folders[image_dir] = "" if folder == "." else folder
    return Configuration(label, content, folders)


def read_configuration(
    configuration: Configuration, entries: Sequence[Entry], read: Read, found: Findings
) -> tuple[list[InputFile], list[Part], v1.SuggestedSpec]:
    """The files of its folders, a subset for each, and what a job should have of its settings."""
    parsed = _parsed(configuration.name, configuration.content)
    suggested = v1.SuggestedSpec()
    files: list[InputFile] = []
    parts: list[Part] = []
    taken: dict[str, str] = {}
    for subset in _subsets(parsed):
        prefix = _prefix(subset, configuration, taken, found)
        spec = _spec(subset, suggested, found)
        if prefix is None:
            continue
        spec.path_prefix = prefix
        taken[prefix] = subset.place
        own = _files(subset, prefix, entries, read, found)
        files += own
        parts.append(_part(spec, own, subset, found))
    if not parts and not found.problems:
        found.problems.append(f"{configuration.name} has no [[datasets.subsets]] with an image_dir; give it one.")
    found.ignore((entry.label for entry in entries if folder_of(entry.label) not in taken and
                  entry.label != configuration.name and entry.kind == "file"), "in no image_dir")  # fmt: skip
    suggested.dataset.subsets.extend(part.spec for part in parts)
    return files, parts, suggested


def _parsed(name: str, content: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name or 'The dataset configuration'} is not UTF-8 text (byte {error.start}).", []
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{name or 'The dataset configuration'} is not TOML: {error}. Mend that line.", []) from error


def _subsets(parsed: Mapping[str, Any]) -> Iterator[_Subset]:
    general = _table(parsed.get("general"))
    for number, dataset in enumerate(_tables(parsed.get("datasets"))):
        inherited = {**general, **{key: value for key, value in dataset.items() if key != "subsets"}}
        for count, subset in enumerate(_tables(dataset.get("subsets"))):
            yield _Subset(f"datasets[{number}].subsets[{count}]", subset, inherited)


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _tables(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _prefix(subset: _Subset, configuration: Configuration, taken: Mapping[str, str], found: Findings) -> str | None:
    """Where the subset's files lie; None after saying why nowhere."""
    if not subset.image_dir:
        found.problems.append(f"{subset.place} has no image_dir; name the folder of its pictures.")
        return None
    folder = configuration.folders.get(subset.image_dir)
    if folder is None or folder.startswith(".."):
        found.problems.append(
            f"{subset.place}: image_dir {quoted(subset.image_dir)} is not there; name a folder relative to {configuration.name}."
        )
        return None
    prefix = f"{folder}/" if folder else ""
    if prefix in taken:
        found.problems.append(
            f"{subset.place}: image_dir {quoted(subset.image_dir)} is that of {taken[prefix]} too; keep one, with the repeats of "
            "both."
        )
        return None
    return prefix


def _spec(subset: _Subset, suggested: v1.SuggestedSpec, found: Findings) -> v1.SubsetSpec:
    """The subset's rules; settings of the whole dataset go to `suggested`."""
    spec = v1.SubsetSpec()
    merged = {**subset.general, **subset.values}
    for key, value in merged.items():
        row = ROWS.get(key)
        if row is None:
            found.notes.append(unknown_key(subset.place, key))
        elif not row.to:
            found.notes += unsupported_key(subset.place, row, value)
        elif key != "image_dir" and is_given(key, value):
            set_field(spec, suggested, row, value, subset.place, found)
    return spec


def _files(subset: _Subset, prefix: str, entries: Sequence[Entry], read: Read, found: Findings) -> list[InputFile]:
    own = [entry for entry in entries if folder_of(entry.label) == prefix and not entry.label.endswith(".toml")]
    wanted = {**subset.general, **subset.values}.get("caption_extension", _CAPTION_ENDING)
    if not isinstance(wanted, str) or not wanted.startswith("."):
        found.problems.append(f"{subset.place}: caption_extension is {wanted!r}, but must be an ending such as '.txt'.")
        return []
    other = [end for end in CAPTIONS if end != wanted]
    unread = {entry.label for entry in own if entry.label.lower().endswith(tuple(other))}
    found.ignore(unread, f"caption_extension is {wanted}")
    return beside([entry for entry in own if entry.label not in unread], read, found, (wanted.lower(),))


def _part(spec: v1.SubsetSpec, own: Sequence[InputFile], subset: _Subset, found: Findings) -> Part:
    pictures = [file for file in own if is_picture(file.label)]
    captions = {stem(file.label) for file in own if not is_picture(file.label) and not is_mask(file.label)}
    captioned = sum(stem(file.label) in captions for file in pictures)
    if not pictures:
        found.problems.append(
            f"{subset.place}: image_dir {quoted(subset.image_dir)} has no picture; remove the subset."
        )
    if captioned < len(pictures) and spec.captions.text:
        spec.captions.source = v1.CAPTION_SOURCE_FILE_OR_FIXED
    else:
        spec.captions.ClearField("text")
    return Part(spec, len(pictures), captioned)
