"""Signs that drawing programs take for weights of words, found in captions. Pure.

A trainer reads captions as text: `(word:1.2)` is a parenthesis, a word, a colon and a number to it. Whoever copied a prompt into
a caption should hear of it.
"""

from __future__ import annotations

import re

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"
_WEIGHTED = re.compile(
    rf"(?<!\\)\([^()]*:\s*{_NUMBER}\s*\)"  # (word:1.2)
    r"|(?<!\\)\(\s*\([^()]+\)\s*\)"  # ((word)); a single pair is how people write, too
    r"|(?<!\\)\[[^\[\]]+(?<!\\)\]"  # [word], [word:other:0.5], [word|other]
)
_ESCAPED = re.compile(r"\\[()\[\]]")


def has_weights(caption: str) -> bool:
    """Whether A1111 or ComfyUI would take something in the caption for a weight: `(word:1.2)`, `((word))`, `[word]`."""
    return _WEIGHTED.search(caption) is not None


def has_escapes(caption: str) -> bool:
    """Whether brackets stand behind a backslash, which those programs take away and a text encoder reads."""
    return _ESCAPED.search(caption) is not None
