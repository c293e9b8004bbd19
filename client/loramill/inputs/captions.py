"""Which file is whose caption, and which column of metadata holds captions. Pure but for `read`, which gives a file's bytes."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from loramill.inputs.names import (
    CAPTIONS,
    FOREIGN_PICTURES,
    ending,
    is_archive,
    is_mask,
    is_picture,
    mask_label,
    masked,
    stem,
)
from loramill.inputs.result import InputFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from loramill.inputs.result import Entry, Findings

    Read = Callable[[str, int], bytes]
    """The first so many bytes of a file of the source."""

COLUMNS = ("text", "caption", "prompt", "description")
"""Where captions are looked for, in this order."""

MOST_BYTES = 1 << 16
"""Of a caption file; what is longer is something else."""

NO_PICTURE = "no picture of this name"
_FOREIGN = "a picture of a kind that is not read; convert it to JPEG, PNG, WebP, AVIF or BMP"
_ARCHIVE = "an archive beside pictures; give it by itself, or unpack it"
_OTHER = "neither a picture nor a caption"


def caption_of_row(row: Mapping[str, Any], column: str = "") -> str | None:
    """The caption in a row of metadata; None where it has none. Of a list of captions the first."""
    name = column or next((name for name in COLUMNS if row.get(name)), "")
    value = row.get(name)
    if isinstance(value, list):
        value = value[0] if value else None
    return value.strip() if isinstance(value, str) and value.strip() else None


def beside(entries: Sequence[Entry], read: Read, found: Findings, endings: Sequence[str] = CAPTIONS) -> list[InputFile]:
    """Pictures, the caption file of each, and masks; everything else is ignored, with its reason."""
    pictures = [entry for entry in entries if is_picture(_named(entry.label))]
    stems = {stem(entry.label) for entry in pictures}
    files = [InputFile(entry.label, entry.size, entry.label) for entry in pictures]
    captions: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        own = next((end for end in endings if entry.label.lower().endswith(end)), None)
        if own is not None:
            captions[stem(entry.label[: -len(own)] + ".txt")].append(entry)
        elif is_mask(_named(entry.label)):
            files += _mask(entry, stems, found)
        elif not is_picture(entry.label):
            found.ignore([entry.label], _why_ignored(entry.label))
    for key, candidates in captions.items():
        if key not in stems:
            found.ignore((entry.label for entry in candidates), NO_PICTURE)
        elif (chosen := _only(candidates, read, found)) is not None:
            files.append(InputFile(f"{chosen.label.rpartition('.')[0]}.txt", chosen.size, chosen.label))
    return files


def leftovers(labels: Iterable[str], found: Findings) -> None:
    """What a layout has no use for."""
    for label in labels:
        found.ignore([label], _why_ignored(label))


def _why_ignored(label: str) -> str:
    if ending(label) in FOREIGN_PICTURES:
        return _FOREIGN
    return _ARCHIVE if is_archive(label) else _OTHER


def _named(label: str) -> str:
    """The label with OneTrainer's masks called as ours."""
    return mask_label(label) or label


def _mask(entry: Entry, stems: set[str], found: Findings) -> list[InputFile]:
    label = _named(entry.label)
    if masked(label) in stems:
        return [InputFile(label, entry.size, entry.label)]
    found.ignore([entry.label], "a mask without a picture of its name")
    return []


def _only(candidates: Sequence[Entry], read: Read, found: Findings) -> Entry | None:
    """The caption of a picture that has several caption files: any, where they say the same."""
    if len(candidates) > 1:
        texts = {b" ".join(read(entry.label, MOST_BYTES).split()) for entry in candidates}
        if len(texts) > 1:
            names = " and ".join(entry.label for entry in candidates)
            found.problems.append(f"A picture has {len(candidates)} captions that differ, {names}; keep one of them.")
            return None
        found.ignore((entry.label for entry in candidates[1:]), "a second caption that says the same")
    return candidates[0]
