"""What a newer version has written into a record and this one does not know. Pure.

protobuf passes over unknown fields of ProtoJSON, and takes an unknown word of an enum for its zero; whoever must not act on
half of what was meant asks here what was passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor


def unknown_fields(content: Mapping[str, Any], descriptor: Descriptor, path: str = "") -> Iterator[str]:
    """Paths, such as `noise.offset`, of the fields that the message does not have; entries of a list all count as the list."""
    return (found for found, is_field in _unknown(content, descriptor, path) if is_field)


def unknown_choices(content: Mapping[str, Any], descriptor: Descriptor, path: str = "") -> Iterator[str]:
    """Such as `optimization.optimizer (OPTIMIZER_NEW)`: fields that the message has, with words that it does not know."""
    return (found for found, is_field in _unknown(content, descriptor, path) if not is_field)


def _unknown(content: Mapping[str, Any], descriptor: Descriptor, path: str) -> Iterator[tuple[str, bool]]:
    for name, value in content.items():
        field = descriptor.fields_by_camelcase_name.get(name) or descriptor.fields_by_name.get(name)
        if field is None:
            yield f"{path}{_snake(name)}", True
            continue
        for entry in value if isinstance(value, list) else [value]:
            yield from _in_field(entry, field, f"{path}{field.name}")


def _in_field(value: Any, field: FieldDescriptor, path: str) -> Iterator[tuple[str, bool]]:
    if field.enum_type is not None:
        known = field.enum_type.values_by_name if isinstance(value, str) else field.enum_type.values_by_number
        if value not in known:
            yield f"{path} ({value})", False
    elif field.message_type is not None and isinstance(value, dict) and not field.message_type.GetOptions().map_entry:
        yield from _unknown(value, field.message_type, f"{path}.")


def _snake(name: str) -> str:
    return "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in name)
