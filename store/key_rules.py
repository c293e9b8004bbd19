"""What may be a key: a relative path that is the same object in every backend and can never climb out of the root."""

from __future__ import annotations

import unicodedata

from store.object_store import InvalidKey

PARTIAL = ".partial"
"""Name of the folder in which the file backend keeps unfinished contents; no part of a key in any backend."""

MAX_KEY_BYTES = 900
"""S3 allows 1024, from which the root's own prefix goes."""

MAX_PART_BYTES = 255
"""What Linux file systems allow for one name."""

_BAD_CATEGORIES = ("Cc", "Cs")
"""Unicode's control characters, and halves of surrogate pairs, which UTF-8 cannot write."""


def check_key(key: str) -> None:
    """Raises InvalidKey, with everything that is wrong, unless `key` can name an object."""
    problems = _problems(key)
    if problems:
        raise InvalidKey(f"key {key!r} cannot name an object: {', '.join(problems)}")


def check_prefix(prefix: str) -> None:
    """Raises InvalidKey unless some key can start with `prefix`, which may end in the middle of a part."""
    folder, slash, start = prefix.rpartition("/")
    problems = (_problems(folder) if slash else []) + _bad_characters(start)
    if problems:
        raise InvalidKey(f"prefix {prefix!r} cannot begin a key: {', '.join(problems)}")


def is_key(key: str) -> bool:
    return not _problems(key)


def _problems(key: str) -> list[str]:
    problems = _bad_characters(key)
    if problems:
        return problems
    if not key:
        return ["it is empty"]
    parts = key.split("/")
    if "" in parts:
        problems.append("it begins with, ends with or doubles '/'")
    problems += [f"it has a part {part!r}" for part in (".", "..", PARTIAL) if part in parts]
    if len(key.encode()) > MAX_KEY_BYTES:
        problems.append(f"it is longer than {MAX_KEY_BYTES} bytes")
    if any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        problems.append(f"it has a part longer than {MAX_PART_BYTES} bytes")
    return problems


def _bad_characters(text: str) -> list[str]:
    if text.isascii() and text.isprintable() and "\\" not in text:  # as nearly every key is
        return []
    bad = {sign for sign in text if sign == "\\" or unicodedata.category(sign) in _BAD_CATEGORIES}
    return [f"it contains {sign!r}" for sign in sorted(bad)]
