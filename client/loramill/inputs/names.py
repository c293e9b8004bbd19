"""What the names in a dataset mean, and which names it cannot have. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PICTURES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".bmp"})
CAPTIONS = (".txt", ".caption")
"""Where a picture has both, they must say the same."""
FOREIGN_PICTURES = frozenset(
    {".gif", ".tif", ".tiff", ".heic", ".heif", ".jxl", ".jp2", ".psd", ".svg", ".tga", ".ico"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw"}
)
ZIPS = (".zip",)
TARS = (".tar", ".tar.gz", ".tgz")
OTHER_ARCHIVES = (".7z", ".rar", ".tar.xz", ".tar.bz2", ".tar.zst", ".txz", ".tbz2", ".xz", ".bz2", ".gz", ".zst")

LONGEST_PATH = 1000
"""Bytes of a path in UTF-8."""

_MASK = ".mask.png"
_FOREIGN_MASK = "-masklabel.png"
LITTER = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
"""What systems leave behind, beside hidden files."""
_JOINERS = "\u200c\u200d"
"""Invisible, but parts of words and of emoji."""
_LINE_ENDS = "\u2028\u2029"


@lru_cache(maxsize=16_384)
def ending(label: str) -> str:
    """The extension in lower case, with its dot."""
    return PurePosixPath(label).suffix.lower()


def stem(label: str) -> str:
    """The path without extension, by which captions find pictures; normalised, for macOS spells é as e and accent."""
    return unicodedata.normalize("NFC", str(PurePosixPath(label).with_suffix(""))) if label else ""


def is_picture(label: str) -> bool:
    return ending(label) in PICTURES and not is_mask(label)


def is_mask(label: str) -> bool:
    """Whether it says which part of the picture `a.jpg` is learnt from: `a.mask.png`, or as OneTrainer has it."""
    return label.lower().endswith((_MASK, _FOREIGN_MASK))


def masked(label: str) -> str:
    """The stem of the picture that a mask belongs to."""
    ending_of_mask = next(end for end in (_MASK, _FOREIGN_MASK) if label.lower().endswith(end))
    return stem(label[: -len(ending_of_mask)] + ".png")


def mask_label(label: str) -> str | None:
    """What OneTrainer's mask `a-masklabel.png` is called here; None for what is none."""
    return label[: -len(_FOREIGN_MASK)] + _MASK if label.lower().endswith(_FOREIGN_MASK) else None


def is_tar(label: str) -> bool:
    return label.lower().endswith(TARS)


def is_zip(label: str) -> bool:
    return label.lower().endswith(ZIPS)


def is_archive(label: str) -> bool:
    return label.lower().endswith((*ZIPS, *TARS, *OTHER_ARCHIVES))


def is_litter(label: str) -> bool:
    """Hidden files, and what systems leave behind."""
    return any((part.startswith(".") and part not in (".", "..")) or part in LITTER for part in label.split("/"))


def quoted(label: str) -> str:
    """A path in a sentence: what does not print is escaped, so that it shows."""
    text = label if len(label) <= 80 else f"{label[:80]}…"
    return repr(text) if text.isprintable() else ascii(text)


def problem_of_path(path: str) -> str | None:
    """Why a dataset cannot have a file of this path, to stand behind `which`; None if it can."""
    if not path:
        return "is empty"
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    if size > LONGEST_PATH:
        return f"has {size} bytes and is longer than {LONGEST_PATH}"
    if any(unicodedata.category(sign) == "Cc" or sign in _LINE_ENDS for sign in path):
        return "has control characters"
    if hidden := next((sign for sign in path if unicodedata.category(sign) == "Cf" and sign not in _JOINERS), None):
        return f"has the invisible character U+{ord(hidden):04X}"
    if "\\" in path:
        return "has a backslash, but parts are separated by '/'"
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return "begins like an absolute path, but must be relative"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return "has an empty part, '.' or '..'"
    return None


def problems_of_paths(paths: Iterable[str]) -> Iterator[str]:
    """A sentence for each path that a dataset cannot have, and for each set that would be one path on another system."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        if problem := problem_of_path(path):
            yield f"{quoted(path)} {problem}; rename it."
        else:
            spellings[unicodedata.normalize("NFC", path)].add(path)
    for same in spellings.values():
        if len(same) > 1:
            names = " and ".join(ascii(path) for path in sorted(same))
            yield f"{names} are the same name, spelt with different Unicode characters; keep one of them."


def differing_in_case(paths: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Sets of paths that differ in upper and lower case only, and so are one file on Windows and macOS."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        spellings[unicodedata.normalize("NFC", path).casefold()].add(path)
    for same in spellings.values():
        if len(same) > 1:
            yield tuple(sorted(same))


def folder_of(label: str) -> str:
    """The folder with its `/`; empty for the top."""
    head, slash, _ = label.rpartition("/")
    return head + slash
