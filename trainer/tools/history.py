"""What the header of a tool's result says: all that its inputs agree on, and what was done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from store.digests import sha256_of
from trainer.adapters.weights import LayerWeights
from trainer.formats.names import MODEL
from trainer.formats.network_keys import network_keys
from trainer.formats.reading import AdapterFile

HISTORY = "loramill_tool"
"""Key of a JSON list: one entry for each tool that an adapter went through."""

_OF_ONE_FILE = ("format", "lora_adapter_metadata", "modelspec.hash_sha256", "sshs_model_hash", "sshs_legacy_hash")
"""Entries that hold of a file's bytes or format, not of the adapter."""
_THUMBNAIL = "modelspec.thumbnail"


@dataclass(frozen=True, kw_only=True)
class Deed:
    """What a tool did."""

    tool: str
    options: Mapping[str, object]
    inputs: Sequence[AdapterFile]
    weights: Sequence[float] = ()
    """Of the inputs, where they are merged."""
    more: Mapping[str, object] = field(default_factory=dict)
    """What came of it."""


def digests(path: Path) -> dict[str, str]:
    """SHA-256 of an adapter's files, by name: of a file itself, or of each of a folder's."""
    if path.is_file():
        return {path.name: sha256_of(path)}
    return {str(file.relative_to(path)): sha256_of(file) for file in sorted(path.rglob(MODEL))}


def header(deed: Deed, new_layers: Sequence[LayerWeights] = ()) -> dict[str, str]:
    """The metadata of a result; `new_layers` where it has others than its input, all plain LoRA.

    An entry on which the inputs do not agree stands with its input in the history. The history of a single input is gone on
    with.
    """
    carried = [{key: value for key, value in file.metadata.items() if key not in _OF_ONE_FILE} for file in deed.inputs]
    common = {
        key: value
        for key, value in (carried[0] if carried else {}).items()
        if all(one.get(key) == value for one in carried)
    }
    inputs = [_input(file, own, common) for file, own in zip(deed.inputs, carried, strict=True)]
    for told, weight in zip(inputs, deed.weights, strict=False):
        told["weight"] = weight
    entry = {"tool": deed.tool, "options": deed.options, "inputs": inputs, **deed.more}
    history = _entries(common.pop(HISTORY, "[]"))
    network = network_keys(new_layers) if new_layers else {}
    return {**common, **network, HISTORY: json.dumps([*history, entry], sort_keys=True)}


def _input(file: AdapterFile, own: Mapping[str, str], common: Mapping[str, str]) -> dict[str, object]:
    differing = {key: value for key, value in own.items() if key not in common and key != _THUMBNAIL}
    return {"sha256": digests(file.path), **({"metadata": differing} if differing else {})}


def sentences(metadata: Mapping[str, str]) -> list[str]:
    """What tools made of an adapter, the oldest first: a sentence each."""
    return [_sentence(entry) for entry in _entries(metadata.get(HISTORY, "[]"))]


def _sentence(entry: object) -> str:
    if not isinstance(entry, dict):
        return f"{HISTORY} says: {entry}"
    inputs, options = entry.get("inputs"), entry.get("options")
    names = [name for one in _listed(inputs) if isinstance(one, dict) for name in _listed(one.get("sha256"))]
    told = [f"{name} {value}" for name, value in options.items()] if isinstance(options, dict) else []
    of = f" of {', '.join(map(str, names))}" if names else ""
    return f"Made by {entry.get('tool')}{of}: {', '.join(told)}."


def _listed(value: object) -> list[object]:
    """The entries of a list or the keys of an object; none of anything else."""
    return list(value) if isinstance(value, list | dict) else []


def _entries(text: str) -> list[object]:
    """A file from elsewhere can say anything."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return [text]
    return found if isinstance(found, list) else [found]
