"""Records of every version of the layout, as its services and trainers wrote them: whatever comes later must read them.

v<N>/<Message>.json    one record of each kind with every field set
v<N>/job/…             what a real job left in the store, its files left out

    python -m tests.records.golden    writes the kinds that the present version has and its folder lacks; what is there stays
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from loramill.v1 import record_pb2, run_pb2
from store.records import SCHEMA_VERSION

FOLDER = Path(__file__).parent
_TIME, _SECONDS = 1_767_323_045, 90


def kinds() -> Iterator[type[Message]]:
    """Every message that is a record of its own."""
    for file in (run_pb2.DESCRIPTOR, record_pb2.DESCRIPTOR):
        for descriptor in file.message_types_by_name.values():
            if "schema_version" in descriptor.fields_by_name:
                yield GetMessageClass(descriptor)


def recorded() -> list[Path]:
    """Of all versions, the single records."""
    return sorted(FOLDER.glob("v*/*.json"))


def filled(kind: type[Message]) -> Message:
    """With every field set; of a oneof the last one."""
    message = kind()
    _fill(message)
    message.schema_version = SCHEMA_VERSION  # type: ignore[attr-defined]
    return message


def _fill(message: Message) -> None:
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None:
            part = getattr(message, field.name)
            _fill_part(part.add() if field.is_repeated else part, field.message_type)
        elif field.is_repeated:
            getattr(message, field.name).append(_value(field))
        else:
            setattr(message, field.name, _value(field))


def _fill_part(part: Message, descriptor: Descriptor) -> None:
    if descriptor.full_name == "google.protobuf.Timestamp":
        part.FromSeconds(_TIME)  # type: ignore[attr-defined]
    elif descriptor.full_name == "google.protobuf.Duration":
        part.FromSeconds(_SECONDS)  # type: ignore[attr-defined]
    else:
        _fill(part)


def _value(field: FieldDescriptor) -> object:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    return {
        FieldDescriptor.CPPTYPE_STRING: field.name,
        FieldDescriptor.CPPTYPE_BOOL: True,
        FieldDescriptor.CPPTYPE_DOUBLE: field.number + 0.5,
    }.get(field.cpp_type, field.number)


def main() -> None:
    folder = FOLDER / f"v{SCHEMA_VERSION}"
    folder.mkdir(exist_ok=True)
    for kind in kinds():
        path = folder / f"{kind.DESCRIPTOR.name}.json"
        if not path.exists():
            content = json.loads(MessageToJson(filled(kind)))
            path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
            sys.stdout.write(f"{path} is written\n")


if __name__ == "__main__":
    main()
