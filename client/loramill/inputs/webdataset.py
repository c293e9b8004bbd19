"""Webdataset shards: tar files whose members of one stem make a sample (https://github.com/webdataset/webdataset).

A sample's key is its path up to the first `.` of the last part. Of a sample one picture is taken, with its caption from a text
member or a field of its JSON. Pure.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

from loramill.inputs.captions import MOST_BYTES, caption_of_row
from loramill.inputs.names import CAPTIONS, folder_of, is_litter, is_picture, is_tar, quoted
from loramill.inputs.result import Findings, InputFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from loramill.inputs.result import Entry

_ENDINGS = (".tar.gz", ".tgz", ".tar")
_SEVERAL_PICTURES = "another picture of the sample"
_NOT_READ = "a member of a sample that is not read"


def shards_of(entries: Iterable[Entry]) -> tuple[str, ...]:
    """The shards of a folder; none where it has pictures of its own."""
    seen = [entry.label for entry in entries if entry.kind == "file" and not is_litter(entry.label)]
    return () if any(is_picture(label) for label in seen) else tuple(label for label in seen if is_tar(label))


def shard_folder(label: str) -> str:
    """The folder of a shard's samples in the dataset: its name without the ending."""
    return next((label[: -len(end)] for end in _ENDINGS if label.lower().endswith(end)), label)


def has_samples(entries: Sequence[Entry]) -> bool:
    """Whether members are told apart by more than one ending behind a key, as nobody but webdataset writes them: a picture
    with JSON beside it."""
    pictures = {_key(entry.label) for entry in entries if is_picture(entry.label)}
    return any(_rest(entry.label) == ".json" and _key(entry.label) in pictures for entry in entries)


def read_samples(
    entries: Sequence[Entry], read: Callable[[str, int], bytes], column: str, found: Findings
) -> list[InputFile]:
    """Pictures and captions, by their keys."""
    samples: dict[str, dict[str, Entry]] = defaultdict(dict)
    for entry in entries:
        samples[_key(entry.label)][_rest(entry.label)] = entry
    files: list[InputFile] = []
    for key, members in samples.items():
        pictures = [(rest, entry) for rest, entry in sorted(members.items()) if is_picture(entry.label)]
        used = {rest for rest, _ in pictures[:1]}
        found.ignore((entry.label for _, entry in pictures[1:]), _SEVERAL_PICTURES)
        if pictures:
            rest, entry = pictures[0]
            files.append(InputFile(key + rest[rest.rindex(".") :], entry.size, entry.label))
            caption = _caption(key, members, read, column, found)
            if caption is not None:
                files.append(caption[0])
                used.add(caption[1])
        others = [entry.label for rest, entry in members.items() if rest not in used and not is_picture(entry.label)]
        found.ignore(others, _NOT_READ if pictures else "no picture of this name")
    return files


def _caption(
    key: str, members: dict[str, Entry], read: Callable[[str, int], bytes], column: str, found: Findings
) -> tuple[InputFile, str] | None:
    """The caption file and the member that it was made of."""
    for rest in (*CAPTIONS, ".text", ".cap"):
        if rest in members and not column:
            entry = members[rest]
            return InputFile(f"{key}.txt", entry.size, entry.label), rest
    if ".json" not in members:
        return None
    label = members[".json"].label
    try:
        row = json.loads(read(label, MOST_BYTES))
        if not isinstance(row, dict):
            raise ValueError("it is no object")
    except (ValueError, RecursionError) as error:
        found.problems.append(f"{quoted(label)} is not JSON ({error}); mend it, or remove it.")
        return None
    text = caption_of_row(row, column)
    if text is None:
        return None
    return InputFile(f"{key}.txt", len(text.encode()), text=text), ".json"


def _key(label: str) -> str:
    folder = folder_of(label)
    return folder + label[len(folder) :].partition(".")[0]


def _rest(label: str) -> str:
    return label[len(_key(label)) :].lower()
