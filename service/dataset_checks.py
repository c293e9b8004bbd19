"""What is wrong with a dataset that is to be opened. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from loramill import v1
from service.bounds import violations_of_bounds
from service.errors import Violation
from service.validation import violations_of_request_id

_LONGEST_TITLE = 200
_LONGEST_SOURCE, _LONGEST_NOTE, _LONGEST_REASON, _LONGEST_COLUMN = 1000, 1000, 200, 200
_MOST_SUBSETS, _MOST_GROUPS, _MOST_NOTES, _MOST_EXAMPLES = 1000, 100, 100, 5


def violations_of_opening(request: v1.CreateDatasetRequest) -> list[Violation]:
    """Everything that is wrong with the request but its source."""
    dataset = request.dataset
    found = violations_of_request_id(request.request_id)
    if len(dataset.display_name) > _LONGEST_TITLE:
        found.append(_too_long("dataset.display_name", dataset.display_name, _LONGEST_TITLE))
    found += _of_input(dataset.input, "dataset.input")
    found += violations_of_bounds(dataset.suggested, "dataset.suggested")
    if request.captions and not request.captioning_job:
        text = "captions is set without captioning_job; leave it out, or name the job whose captions these are."
        found.append(Violation("captions", text, "CONFLICT"))
    if request.source_uri and request.captioning_job:
        text = "captioning_job is set beside source_uri, but a dataset is made of one of them; leave the other out."
        found.append(Violation("captioning_job", text, "CONFLICT"))
    if request.source_uri:
        found += _of_source(request)
    else:
        found += [
            Violation(field, f"{field} is set without source_uri; leave it out, or name a source.", "CONFLICT")
            for field in ("layout", "caption_column", "validate_only")
            if getattr(request, field)
        ]
    return found


def _of_source(request: v1.CreateDatasetRequest) -> Iterator[Violation]:
    for field in ("input", "suggested"):
        if request.dataset.HasField(field):
            text = f"dataset.{field} is set beside source_uri; leave it out, the service finds it by itself."
            yield Violation(f"dataset.{field}", text, "CONFLICT")
    if len(request.source_uri) > _LONGEST_SOURCE:
        yield _too_long("source_uri", request.source_uri, _LONGEST_SOURCE)
    if len(request.caption_column) > _LONGEST_COLUMN:
        yield _too_long("caption_column", request.caption_column, _LONGEST_COLUMN)
    if request.layout not in v1.DatasetLayout.values():
        text = f"layout is {request.layout}, which this version does not know; leave it out, or upgrade."
        yield Violation("layout", text, "UNKNOWN_VALUE")


def _of_input(found: v1.DatasetInput, path: str) -> Iterator[Violation]:
    texts = {
        f"{path}.source": (found.source, _LONGEST_SOURCE),
        **{f"{path}.notes[{index}]": (note, _LONGEST_NOTE) for index, note in enumerate(found.notes[:_MOST_NOTES])},
        **{
            f"{path}.ignored[{index}].reason": (group.reason, _LONGEST_REASON)
            for index, group in enumerate(found.ignored[:_MOST_GROUPS])
        },
    }
    for field, (text, longest) in texts.items():
        if len(text) > longest:
            yield _too_long(field, text, longest)
    counts = {
        f"{path}.subsets": (len(found.subsets), _MOST_SUBSETS),
        f"{path}.ignored": (len(found.ignored), _MOST_GROUPS),
        f"{path}.notes": (len(found.notes), _MOST_NOTES),
        f"{path}.ignored.examples": (max((len(group.examples) for group in found.ignored), default=0), _MOST_EXAMPLES),
    }
    for field, (count, most) in counts.items():
        if count > most:
            yield Violation(field, f"{field} has {count} entries, but must have at most {most}; remove some.")


def _too_long(field: str, text: str, longest: int) -> Violation:
    return Violation(field, f"{field} has {len(text)} characters, but must have at most {longest}; shorten it.")
