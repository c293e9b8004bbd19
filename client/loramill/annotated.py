"""A resolved spec as YAML that says, behind each field, where its value came from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from loramill.spec import dump_spec

if TYPE_CHECKING:
    from loramill import v1

_COLUMN = 48
"""Where comments begin, if the line is shorter."""
_FIELD = re.compile(r"( *)([a-z0-9_]+):( .*)?")


def dump_annotated(spec: v1.TrainingSpec) -> str:
    """YAML that `read_spec` reads as the same spec but for `sources`, which become comments."""
    sources = {entry.field: entry.source for entry in spec.sources}
    bare = type(spec)()
    bare.CopyFrom(spec)
    bare.ClearField("sources")
    lines = dump_spec(bare).splitlines()
    out, path = [], [""]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        match = _FIELD.fullmatch(line)
        source = None
        if match is not None:
            depth = len(match[1]) // 2
            path = [*path[:depth], match[2]]
            source = sources.get(".".join(path))
        # A text that goes on in the next line must not be cut by a comment.
        goes_on = len(following) - len(following.lstrip()) > len(line) - len(line.lstrip())
        out.append(line if source is None or goes_on else f"{line:<{_COLUMN}}  # {source}")
    return "".join(f"{line}\n" for line in out)
