"""The values' model → the schema that Helm checks values by. Pure."""

from __future__ import annotations

from typing import Any

from deploy.chart.values import Values

Schema = dict[str, Any]

_FILLED_IN = {
    # The parts of the operator's file that the chart writes itself.
    "PodSettings": (
        "namespace",
        "image",
        "image_pull_policy",
        "image_pull_secrets",
        "service_account_name",
        "mount_credentials",
        "traces_endpoint",
    ),
    "Configuration": ("tls",),
}
_NUMBERS_TOO = {"ComputeClass": ("cpu", "memory", "ephemeral_storage", "shm")}
"""Quantities may be written as numbers: `cpu: 4`."""
_NO_NEED = {"Configuration": ("trainers",)}
"""Required by the service, and always there."""


def values_schema() -> Schema:
    """A JSON schema of draft 7, which every Helm 3 and 4 knows; closed but for maps of text."""
    schema: Schema = Values.model_json_schema(by_alias=True)
    definitions: dict[str, Schema] = schema["$defs"]
    for name, fields in _FILLED_IN.items():
        for field in fields:
            del definitions[name]["properties"][field]
        _make_optional(definitions[name], fields)
    for name, fields in _NO_NEED.items():
        _make_optional(definitions[name], fields)
    for name, fields in _NUMBERS_TOO.items():
        for field in fields:
            definitions[name]["properties"][field]["type"] = ["string", "number"]
    # Either spelling, as the service reads it.
    definitions["DirectTransferSettings"]["type"] = ["object", "boolean"]
    used = _reachable(schema)
    schema["$defs"] = {name: _plain(definitions[name]) for name in sorted(used)}
    schema["properties"] = {name: _plain(entry) for name, entry in schema["properties"].items()}
    del schema["title"], schema["description"]
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart loramill", **schema}


def _make_optional(definition: Schema, fields: tuple[str, ...]) -> None:
    required = [field for field in definition.get("required", ()) if field not in fields]
    definition.pop("required", None)
    if required:
        definition["required"] = required


def _plain(entry: Any) -> Any:
    """Without what only repeats the names, and what draft 7 does not know. Defaults stand in values.yaml."""
    if isinstance(entry, list):
        return [_plain(part) for part in entry]
    if not isinstance(entry, dict):
        return entry
    if "properties" in entry:
        properties = {name: _plain(value) for name, value in entry["properties"].items()}
        others = {key: value for key, value in entry.items() if key != "properties"}
        return {**_plain(others), "properties": properties}
    dropped = {"title", "discriminator", "default"} | ({"format"} if entry.get("format") == "path" else set())
    return {key: _plain(value) for key, value in entry.items() if key not in dropped}


def _reachable(schema: Schema) -> set[str]:
    """Names of the definitions that something refers to."""
    found: set[str] = set()
    pending: list[Any] = [schema["properties"]]
    while pending:
        entry = pending.pop()
        if isinstance(entry, list):
            pending += entry
        elif isinstance(entry, dict):
            name = str(entry.get("$ref", "")).removeprefix("#/$defs/")
            if name and name not in found:
                found.add(name)
                pending.append(schema["$defs"][name])
            pending += entry.values()
    return found
