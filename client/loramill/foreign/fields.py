"""Sets fields of a spec by their paths, from values as other programs write them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from google.protobuf.descriptor import FieldDescriptor

from loramill.scalars import enum_of, parse_enum

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

_INDEX = re.compile(r"(\w+)\[(\d+)\]")
_WORDS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


def set_field(message: Message, path: str, value: Any) -> None:
    """Sets `a.b` or `a[1].b`; items of a list are made as they are needed. Raises ValueError for what is no such value."""
    head, _, rest = path.partition(".")
    if match := _INDEX.fullmatch(head):
        items = getattr(message, match[1])
        while len(items) <= int(match[2]):
            items.add()
        set_field(items[int(match[2])], rest, value)
    elif rest:
        set_field(getattr(message, head), rest, value)
    else:
        field = cast("Descriptor", message.DESCRIPTOR).fields_by_name[head]
        if field.is_repeated and field.message_type is not None:
            for entry in value:
                getattr(message, head).add(**entry)
        elif field.is_repeated:
            getattr(message, head).extend(value)
        else:
            setattr(message, head, _value(field, value))


def _value(field: FieldDescriptor, value: Any) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return parse_enum(enum_of(field), str(value))
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return float(value)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return value if isinstance(value, bool) else _WORDS[str(value).lower()]
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    number = float(value)
    if not number.is_integer():
        raise ValueError(f"{value!r} is no whole number")
    return int(number)
