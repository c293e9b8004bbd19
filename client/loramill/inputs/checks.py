"""What is wrong with files that a layout would take, by name, size and, for captions, content. Pure but for `read`."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from loramill.inputs.captions import MOST_BYTES
from loramill.inputs.names import differing_in_case, folder_of, is_mask, is_picture, problems_of_paths, quoted, stem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loramill.inputs.captions import Read
    from loramill.inputs.result import Findings, InputFile, Part

_MOST_FILES = 1_000_000


def check_files(files: Sequence[InputFile], parts: Sequence[Part], read: Read, found: Findings) -> None:
    """Problems and notes go to `found`; `parts` may give captions to pictures that have none of their own."""
    found.problems += problems_of_paths(
        dict.fromkeys(name for file in files for name in (file.label, file.origin or file.label))
    )
    if len(files) > _MOST_FILES:
        found.problems.append(f"There are {len(files)} files, more than {_MOST_FILES}; make several datasets.")
    for label, count in Counter(file.label for file in files).items():
        if count > 1:
            found.problems.append(f"{count} files would be called {quoted(label)}; rename all but one.")
    pictures = [file for file in files if is_picture(file.label)]
    empty = [file.label for file in files if file.size == 0 and (is_picture(file.label) or is_mask(file.label))]
    found.problems_of(empty, "picture has 0 bytes", "pictures have 0 bytes", "Remove them, or copy them again.")
    for same in differing_in_case(file.label for file in pictures):
        found.notes.append(f"{' and '.join(same)} differ in upper and lower case only; each is a picture of its own.")
    _note_shared_captions(pictures, found)
    _note_same_folders(pictures, found)
    _check_captions([file for file in files if not is_picture(file.label) and not is_mask(file.label)], read, found)
    _note_bare(files, pictures, parts, found)


def _note_bare(
    files: Sequence[InputFile], pictures: Sequence[InputFile], parts: Sequence[Part], found: Findings
) -> None:
    captioned = {stem(file.label) for file in files if not is_picture(file.label) and not is_mask(file.label)}
    covered = tuple(part.spec.path_prefix for part in parts if part.spec.captions.text)
    bare = [file.label for file in pictures if stem(file.label) not in captioned and not file.label.startswith(covered)]
    found.note(
        bare,
        "picture has no caption, for which the spec must give one",
        "pictures have no caption, for which the spec must give one",
    )


def _check_captions(captions: Sequence[InputFile], read: Read, found: Findings) -> None:
    empty, long, foreign = [], [], []
    for file in captions:
        if file.size > MOST_BYTES:
            long.append(file.origin or file.label)
            continue
        content = file.text.encode() if file.text is not None else read(file.origin, MOST_BYTES)
        if not content.strip():
            empty.append(file.origin or file.label)
        elif not _is_text(content):
            foreign.append(file.origin)
    found.note(empty, "caption is empty", "captions are empty")
    found.problems_of(
        long, f"caption has more than {MOST_BYTES} bytes", f"captions have more than {MOST_BYTES} bytes",
        "A file should hold one caption.",
    )  # fmt: skip
    found.problems_of(foreign, "caption is not UTF-8 text", "captions are not UTF-8 text", "Save them as UTF-8.")


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in content


def _note_shared_captions(pictures: Sequence[InputFile], found: Findings) -> None:
    stems: dict[str, list[str]] = defaultdict(list)
    for file in pictures:
        stems[stem(file.label)].append(file.label)
    for same in stems.values():
        if len(same) > 1:
            found.notes.append(f"{' and '.join(same)} share one caption, for they differ in their endings only.")


def _note_same_folders(pictures: Sequence[InputFile], found: Findings) -> None:
    """Folders with pictures of the same names and sizes are most likely copies."""
    folders: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for file in pictures:
        folders[folder_of(file.label)].add((file.label[len(folder_of(file.label)) :], file.size))
    alike: dict[frozenset[tuple[str, int]], list[str]] = defaultdict(list)
    for folder, members in folders.items():
        alike[frozenset(members)].append(folder or "the top folder")
    for same, names in alike.items():
        if len(names) > 1:
            found.notes.append(
                f"{' and '.join(names)} have {len(same)} pictures of the same names and sizes; if one is a copy, remove it."
            )
