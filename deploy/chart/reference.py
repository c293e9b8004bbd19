"""The values' schema → docs/helm-values.md. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml

from deploy.chart.schema import Schema, values_schema

_HEADER = """\
# Values of the chart

Written by `python -m deploy.chart` from the model of the values; a test keeps it so. How they are used: [operate.md](operate.md).
Unknown values are refused by name. The values below `operator` are the operator's file in the service's own words
([kubernetes.md](kubernetes.md)); the chart adds the trainers' namespace, image, service account and pull Secrets, and `tls`.

"""


def values_page(defaults: str) -> str:
    """`defaults` is the content of values.yaml."""
    schema = values_schema()
    given = yaml.safe_load(defaults)
    lines = ["| value | type | default | |", "|---|---|---|---|"]
    lines += [
        _row(path, _resolved(schema, entry), default) for path, entry, default in _walk(schema, schema, "", given)
    ]
    return _HEADER + "\n".join(lines) + "\n"


def _walk(schema: Schema, entry: Schema, path: str, given: Any) -> Iterator[tuple[str, Schema, Any]]:
    required = entry.get("required", ())
    for name, field in entry.get("properties", {}).items():
        place = f"{path}.{name}" if path else name
        field = {**field, "needed": name in required}
        default = given.get(name, _ABSENT) if isinstance(given, dict) else _ABSENT
        parts = list(_parts(schema, field))
        if parts and not _refers_to_list(field):
            for part in parts:
                yield from _walk(schema, part, place, default)
            continue
        yield place, field, default
        for part in _items(schema, field):
            yield from _walk(schema, part, f"{place}[]", _ABSENT)


_ABSENT = object()


def _parts(schema: Schema, field: Schema) -> Iterator[Schema]:
    """The objects that this field may be."""
    for option in (field, *field.get("anyOf", ()), *field.get("oneOf", ())):
        found = _resolved(schema, option)
        if "properties" in found:
            yield found


def _items(schema: Schema, field: Schema) -> Iterator[Schema]:
    if "items" in field:
        yield from _parts(schema, field["items"])


def _refers_to_list(field: Schema) -> bool:
    return field.get("type") == "array"


def _resolved(schema: Schema, entry: Schema) -> Schema:
    name = str(entry.get("$ref", "")).removeprefix("#/$defs/")
    return {**schema["$defs"][name], **{k: v for k, v in entry.items() if k != "$ref"}} if name else entry


def _row(path: str, field: Schema, default: Any) -> str:
    shown = (
        "required"
        if field["needed"] and default is _ABSENT
        else ""
        if default is _ABSENT
        else f"`{json.dumps(default)}`"
    )
    words = " ".join(str(field.get("description", "")).split())
    return f"| `{path}` | {_kind(field)} | {shown} | {words} |".replace("  ", " ")


def _kind(field: Schema) -> str:
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" if value else "empty" for value in field["enum"])
    options = [*field.get("anyOf", ()), *field.get("oneOf", ())]
    if options:
        return " or ".join(dict.fromkeys(_kind(option) for option in options))
    if field.get("type") == "array":
        return "list"
    if "additionalProperties" in field and "properties" not in field:
        return "map of text"
    if field.get("format") == "duration":
        return "duration"
    kind = field.get("type", "")
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "yes or no", "null": "null"}
    return " or ".join(words.get(one, one) for one in ([kind] if isinstance(kind, str) else kind))
