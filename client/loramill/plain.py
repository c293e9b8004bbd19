"""Messages in the form of spec files: snake_case, short enum names, `2h`, times as text; as plain values or as YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor

from loramill.names import NAMED_IN_SPECS, short_name
from loramill.scalars import enum_of, enum_word, format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message


def to_plain(message: Message) -> dict[str, Any]:
    """The set fields of `message`, in the order of the proto."""
    return {
        field.name: [_value(field, item) for item in value] if field.is_repeated else _value(field, value)
        for field, value in message.ListFields()
    }


def dump_yaml(message: Message) -> str:
    """One message as YAML."""
    return yaml_of(to_plain(message))


def dump_yaml_list(messages: Iterable[Message]) -> str:
    """Messages as a YAML list."""
    return yaml_of([to_plain(message) for message in messages])


class _Dumper(yaml.SafeDumper):
    """Escapes what does not print: PyYAML else writes U+0085 bare, and reads it as a line's end."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _Dumper.represent_text)


def yaml_of(value: object) -> str:
    """Plain values as YAML."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


def _value(field: FieldDescriptor, value: Any) -> Any:
    if isinstance(value, duration_pb2.Duration):
        return format_duration(value)
    if isinstance(value, timestamp_pb2.Timestamp):
        return value.ToJsonString()
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        return to_plain(value)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return enum_word(enum_of(field), value)
    collection = NAMED_IN_SPECS.get(field.full_name)
    return (
        short_name(value) if collection and value.partition("/")[0] == collection and value.count("/") == 1 else value
    )
