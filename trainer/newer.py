"""Whether this trainer may do an assignment that a newer service has written. Pure.

What the assignment asks for and this version does not know must not be passed over in silence. A field that stands at its default
asks for nothing: jobs that do not use a new option are trained as before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loramill import v1
from store.newer import unknown_choices, unknown_fields

_DEFAULT = "default"
"""What `sources` of a resolved spec calls the value of a field that nobody, and no preset, has set."""


def lacking(content: Mapping[str, Any], assignment: v1.Assignment) -> list[str]:
    """What the assignment needs and this trainer does not know, as paths of the spec; `content` is its JSON.

    Outside of the spec unknown fields are passed over: a service that needs them understood raises the schema version.
    """
    sources = {_plain(entry.field): entry.source for entry in assignment.spec.sources}
    spec = v1.TrainingSpec.DESCRIPTOR
    needed = (path for path in unknown_fields(content.get("spec", {}), spec) if _is_asked_for(_plain(path), sources))
    return [*dict.fromkeys([*needed, *unknown_choices(content, assignment.DESCRIPTOR)])]


def _is_asked_for(path: str, sources: Mapping[str, str]) -> bool:
    """`sources` names what lies in an unknown message by its own fields, and a list as a whole."""
    named = [source for field, source in sources.items() if field == path or field.startswith(f"{path}.")]
    return not named or any(source != _DEFAULT for source in named)


def _plain(path: str) -> str:
    """Of an unknown field only the JSON name is known, from which its underscores cannot be told."""
    return path.replace("_", "").lower()


def told(needed: Sequence[str]) -> Iterator[str]:
    """One sentence, if anything is needed."""
    if needed:
        yield (
            f"The job needs {', '.join(needed)}, which this version of the trainer does not know; have the operator give "
            "trainers the image of the service's version."
        )
