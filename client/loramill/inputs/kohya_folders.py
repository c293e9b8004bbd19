"""Folders named as kohya's scripts read them: `10_sks dog` is 10 repeats, the tag `sks`, the class words `dog`. Pure.

The name is the caption of pictures without a caption file. Folders below one named `reg` hold pictures of the class.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loramill import v1
from loramill.inputs.names import is_mask, is_picture, quoted, stem
from loramill.inputs.result import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loramill.inputs.result import Findings, InputFile

_FOLDER = re.compile(r"(?:^|(?<=/))(\d+)_([^/]+)/")
_MOST_REPEATS = 10_000
_UNUSUAL_REPEATS = 200
_REGULARISATION = "reg/"
_LONGEST_TAG = 75
_NO_TAGS = frozenset({"a", "an", "the", "photo", "picture", "image", "img"})
"""First words of what is a caption, not a tag and its class."""


@dataclass(frozen=True)
class NamedFolder:
    """A folder of pictures, by its path with `/` at the end."""

    path: str
    repeats: int
    words: str

    @property
    def of_class(self) -> bool:
        """Whether these are pictures of the class, for prior preservation."""
        return f"/{self.path}".rpartition("/")[0].rpartition("/")[0].endswith(f"/{_REGULARISATION[:-1]}")


def folder_in(label: str) -> NamedFolder | None:
    """The outermost folder of a path that is named so."""
    match = _FOLDER.search(label)
    if match is None:
        return None
    return NamedFolder(label[: match.end()], int(match[1]), match[2].strip())


def has_folders(labels: Iterable[str]) -> bool:
    return any(folder_in(label) is not None for label in labels if is_picture(label))


def parts_of(files: Sequence[InputFile], found: Findings) -> tuple[list[Part], v1.SuggestedSpec]:
    """A subset for each folder, and one of the rest where there is a rest; what a job should know of them."""
    captioned = {stem(file.label) for file in files if not is_picture(file.label) and not is_mask(file.label)}
    members: dict[NamedFolder | None, list[str]] = defaultdict(list)
    for file in files:
        if is_picture(file.label):
            members[folder_in(file.label)].append(file.label)
    parts, tags = [], {}
    for folder, labels in sorted(members.items(), key=lambda item: item[0].path if item[0] else ""):
        with_caption = sum(stem(label) in captioned for label in labels)
        spec = v1.SubsetSpec()
        if folder is not None:
            spec = _spec(folder, len(labels) - with_caption, found)
            if tag := _tag(folder, len(labels) - with_caption):
                tags[folder.path] = tag
        parts.append(Part(spec, len(labels), with_caption))
    if None in members:
        found.note(
            members[None],
            "picture is in no folder named like 10_tag, and is read once an epoch",
            "pictures are in no folder named like 10_tag, and are read once an epoch",
        )
    return parts, _suggested(parts, tags)


def _spec(folder: NamedFolder, uncaptioned: int, found: Findings) -> v1.SubsetSpec:
    spec = v1.SubsetSpec(path_prefix=folder.path, repeats=folder.repeats)
    if not 1 <= folder.repeats <= _MOST_REPEATS:
        found.problems.append(
            f"The folder {quoted(folder.path)} has {folder.repeats} repeats, but must have 1 to {_MOST_REPEATS}; rename it, or "
            "take its pictures out."
        )
    elif folder.repeats > _UNUSUAL_REPEATS:
        found.notes.append(
            f"The folder {quoted(folder.path)} is read as {folder.repeats} repeats. If that number is a name, say --layout plain."
        )
    if uncaptioned:
        spec.captions.source = v1.CAPTION_SOURCE_FILE_OR_FIXED
        spec.captions.text = folder.words
    if folder.of_class:
        spec.class_images = True
    return spec


def _tag(folder: NamedFolder, uncaptioned: int) -> tuple[str, str] | None:
    """Activation tag and class words. A single word is a tag only where it stands for captions: else it may be any name."""
    tag, _, words = folder.words.partition(" ")
    if (
        folder.of_class
        or not (words or uncaptioned)
        or "," in tag
        or len(tag) > _LONGEST_TAG
        or tag.lower() in _NO_TAGS
    ):
        return None
    return tag, words.strip()


def _suggested(parts: Sequence[Part], tags: dict[str, tuple[str, str]]) -> v1.SuggestedSpec:
    concepts = dict(tags.values())
    suggested = v1.SuggestedSpec(dataset=v1.DatasetSpec(subsets=[part.spec for part in parts]))
    for index, (tag, words) in enumerate(concepts.items()):
        concept = v1.ConceptSpec(activation_tag=tag, class_words=words)
        if index == 0:
            suggested.concept.CopyFrom(concept)
        else:
            suggested.concepts.append(concept)
    if len(concepts) > 1:
        for part, subset in zip(parts, suggested.dataset.subsets, strict=True):
            if part.spec.path_prefix in tags and tags[part.spec.path_prefix][0] != suggested.concept.activation_tag:
                subset.concept = tags[part.spec.path_prefix][0]
    return suggested
