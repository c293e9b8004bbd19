"""The rows of kohya's dataset configuration, applied to messages. Pure."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from loramill import v1
from loramill.foreign.fields import set_field as set_spec_field
from loramill.foreign.kohya_dataset import DATASET_ROWS, SUBSET_ROWS
from loramill.foreign.rows import Row, Unlike

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loramill.inputs.result import Findings

ROWS = {row.key: row for row in (*SUBSET_ROWS, *DATASET_ROWS)}
_OF_SUBSET = "subsets[]."
_OF_DATASET = "dataset."
_MOST_REPEATS = 10_000


def unknown_key(place: str, key: str) -> str:
    near = difflib.get_close_matches(key, ROWS, n=1)
    hint = f"; the nearest is {near[0]}" if near else ""
    return f"{place}: {key} is no key of a dataset configuration, and is not read{hint}."


def unsupported_key(place: str, row: Row, value: object) -> Iterator[str]:
    if not row.needless and value not in row.off:
        yield f"{place}: {row.key} = {value!r} is not supported. {row.says}"


def is_given(key: str, value: object) -> bool:
    """Empty texts say nothing."""
    return value != "" or key == "image_dir"


def set_field(
    spec: v1.SubsetSpec, suggested: v1.SuggestedSpec, row: Row, value: object, place: str, found: Findings
) -> None:
    """Sets what a row names, in the subset or in what is suggested for the whole dataset."""
    try:
        converted = row.convert(value) if row.convert is not None else value
        if row.key == "num_repeats" and (not isinstance(value, int) or not 1 <= value <= _MOST_REPEATS):
            found.problems.append(
                f"{place}: num_repeats is {value!r}, but must be 1 to {_MOST_REPEATS}; change it, or remove the subset."
            )
        elif row.to.startswith(_OF_SUBSET):
            set_spec_field(spec, row.to.removeprefix(_OF_SUBSET), converted)
            if row.key == "enable_wildcard":
                spec.captions.lines_as_alternatives = bool(converted)
        elif row.to.startswith(_OF_DATASET):
            _set_once(suggested.dataset, row, converted, place, found)
        else:
            sentence = f"{row.key} = {value!r} belongs into the job: {row.to}: {converted}."
            if sentence not in found.notes:
                found.notes.append(sentence)
    except (Unlike, TypeError, ValueError, KeyError) as error:
        found.problems.append(f"{place}: {row.key} is {value!r}: {error}; mend it.")


def _set_once(dataset: v1.DatasetSpec, row: Row, value: Any, place: str, found: Findings) -> None:
    """One value for the whole dataset: the first that is told; another is noted."""
    name = row.to.removeprefix(_OF_DATASET)
    before = v1.DatasetSpec()
    before.CopyFrom(dataset)
    set_spec_field(before, name, value)
    if any(field.name == name for field, _ in dataset.ListFields()) and before != dataset:
        found.notes.append(
            f"{place}: {row.key} differs from another subset's; a job has one {row.to}, and that of the first is taken."
        )
        return
    dataset.CopyFrom(before)
