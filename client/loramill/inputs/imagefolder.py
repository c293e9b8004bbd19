"""Hugging Face's imagefolder: `metadata.jsonl` or `metadata.csv` with `file_name` and a column of captions.

File names are relative to the metadata's own folder, so that each split may have its own. Pure but for `read`.
"""

from __future__ import annotations

import csv
import io
import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loramill.inputs.captions import COLUMNS, beside, caption_of_row
from loramill.inputs.names import folder_of, is_picture, quoted, stem
from loramill.inputs.result import InputFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loramill.inputs.captions import Read
    from loramill.inputs.result import Entry, Findings

_NAMES = frozenset({"metadata.jsonl", "metadata.csv"})
_UNREAD = "metadata.parquet"
_LARGEST = 256 << 20
"""Bytes of a file of metadata."""
_NAME_COLUMNS = ("file_name", "image_file_name", "image")
_MOST_SHOWN = 20
"""Sentences on one file; what follows is counted."""


@dataclass(frozen=True)
class _Row:
    place: str
    """File and line, for sentences."""
    values: dict[str, Any]


def metadata_of(entries: Sequence[Entry]) -> tuple[str, ...]:
    """The files of metadata."""
    return tuple(entry.label for entry in entries if posixpath.basename(entry.label) in _NAMES)


def unread_metadata(entries: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(entry.label for entry in entries if posixpath.basename(entry.label) == _UNREAD)


def read_metadata(entries: Sequence[Entry], read: Read, column: str, found: Findings) -> list[InputFile]:
    """Pictures, with captions made from the metadata, or from files beside those pictures that it does not name."""
    metadata = metadata_of(entries)
    labels = {entry.label for entry in entries}
    captions: dict[str, str] = {}
    named: dict[str, str] = {}
    for label in metadata:
        rows = list(_rows(label, read(label, _LARGEST + 1), found))
        _check_columns(label, rows, column, found)
        problems: list[str] = []
        for row in rows:
            picture = _picture(row, folder_of(label), labels, problems)
            if picture is None:
                continue
            if picture in named:
                problems.append(f"{row.place} names {quoted(picture)}, as {named[picture]} does; keep one of them.")
                continue
            named[picture] = row.place
            if (text := caption_of_row(row.values, column)) is not None:
                captions[stem(picture)] = text
        found.problems += problems[:_MOST_SHOWN]
        if len(problems) > _MOST_SHOWN:
            found.problems.append(f"{label} has {len(problems) - _MOST_SHOWN} more rows of these kinds.")
    unnamed = [entry.label for entry in entries if is_picture(entry.label) and entry.label not in named]
    found.note(unnamed, "picture is in no row of the metadata", "pictures are in no row of the metadata")
    files = beside([entry for entry in entries if entry.label not in metadata], read, found)
    return [*_without_captions_of(captions, files, found), *_made(captions, named)]


def _made(captions: dict[str, str], named: dict[str, str]) -> list[InputFile]:
    made = {}
    for picture in named:
        if (text := captions.get(stem(picture))) is not None:
            label = f"{picture.rpartition('.')[0]}.txt"
            made[label] = InputFile(label, len(text.encode()), text=text)
    return list(made.values())


def _without_captions_of(captions: dict[str, str], files: list[InputFile], found: Findings) -> list[InputFile]:
    replaced = [file for file in files if file.label.endswith(".txt") and stem(file.label) in captions]
    found.ignore((file.origin for file in replaced), "the metadata has the caption")
    labels = {file.label for file in replaced}
    return [file for file in files if file.label not in labels]


def _rows(label: str, content: bytes, found: Findings) -> Iterator[_Row]:
    if len(content) > _LARGEST:
        found.problems.append(f"{label} has more than {_LARGEST} bytes; split it over folders.")
        return
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found.problems.append(f"{label}, line {line}: it is not UTF-8 text; save it as UTF-8.")
        return
    yield from (_csv_rows if label.endswith(".csv") else _json_rows)(label, text, found)


def _json_rows(label: str, text: str, found: Findings) -> Iterator[_Row]:
    bad = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            if not isinstance(values, dict):
                raise ValueError("it is no object such as {…}")
            yield _Row(f"{label}, line {number},", values)
        except (ValueError, RecursionError) as error:
            bad.append(f"{label}, line {number}: it is not JSON ({error}); mend the line.")
    found.problems += bad[:_MOST_SHOWN]
    if len(bad) > _MOST_SHOWN:
        found.problems.append(f"{label} has {len(bad) - _MOST_SHOWN} more lines that are not JSON.")


def _csv_rows(label: str, text: str, found: Findings) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                found.problems.append(
                    f"{label}, line {reader.line_num}: it has {len(row)} values, but the header has {len(header)}; mend the line "
                    "(a value with commas stands in quotation marks)."
                )
                continue
            yield _Row(f"{label}, line {reader.line_num},", dict(zip(header, row, strict=True)))
    except csv.Error as error:
        found.problems.append(f"{label}, line {reader.line_num}: it is not CSV ({error}); mend the line.")


def _check_columns(label: str, rows: Sequence[_Row], column: str, found: Findings) -> None:
    columns = {name: None for row in rows for name in row.values}
    if not rows:
        found.problems.append(f"{label} has no rows; give each picture one, with file_name and text.")
        return
    if not any(name in columns for name in _NAME_COLUMNS):
        found.problems.append(f"{label} has no column file_name; it has {', '.join(columns)}.")
    captions = [name for name in COLUMNS if name in columns]
    if column and column not in columns:
        found.problems.append(f"{label} has no column {quoted(column)}; it has {', '.join(columns)}.")
    elif not column and not captions:
        found.notes.append(
            f"{label} has no column of captions ({', '.join(COLUMNS)}), but {', '.join(columns)}; --caption-column names one."
        )
    read = {*_NAME_COLUMNS, column or next(iter(captions), "")}
    others = [name for name in columns if name not in read]
    if others:
        found.notes.append(f"{label}: not read are the columns {', '.join(others)}.")


def _picture(row: _Row, folder: str, labels: set[str], problems: list[str]) -> str | None:
    """The picture that a row names, by its path in the source."""
    name = next((value for key in _NAME_COLUMNS if isinstance(value := row.values.get(key), str)), "")
    if not name:
        problems.append(f"{row.place} names no file; give it a file_name, or remove it.")
        return None
    label = posixpath.normpath(folder + name.replace("\\", "/"))
    if label.startswith(("/", "..")) or name.startswith("/"):
        problems.append(f"{row.place} names {quoted(name)}, which leads out of the folder; give a relative path in it.")
    elif label not in labels:
        problems.append(f"{row.place} names {quoted(name)}, which is not there; add the file, or remove the line.")
    elif not is_picture(label):
        problems.append(f"{row.place} names {quoted(name)}, which is no picture; remove the line.")
    else:
        return label
    return None
