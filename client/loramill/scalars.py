"""Single values of a spec as people write them: numbers, words of an enum, durations; and the way back."""

from __future__ import annotations

import difflib
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, cast

from google.protobuf import duration_pb2
from google.protobuf.descriptor import FieldDescriptor

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, EnumDescriptor

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
}
_BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_INTEGER = re.compile(r"[-+]?[0-9][0-9_]*")
_NUMBER = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_UNIT_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_LONGEST_SECONDS = 315_576_000_000
_NANOS = 10**9

_DURATION_NAME = duration_pb2.Duration.DESCRIPTOR.full_name


def enum_of(field: FieldDescriptor) -> EnumDescriptor:
    """The enum of a field that is one."""
    return cast("EnumDescriptor", field.enum_type)


def group_of(field: FieldDescriptor) -> Descriptor | None:
    """What a field holds that is a group of fields of its own; None for single values, durations among them."""
    inner = field.message_type
    return None if inner is None or inner.full_name == _DURATION_NAME else inner


def is_duration(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == _DURATION_NAME


def parse_scalar(field: FieldDescriptor, text: str, *, quoted: bool) -> int | float | bool | str:
    """`text` as a value of `field`, one that is no message; ValueError says what was expected.

    `quoted` is whether it stood in quotation marks: only text and the words of an enum may.
    """
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return text
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return parse_enum(enum_of(field), text)
    if quoted:
        raise ValueError(f"must be {kind_of(field)} without quotation marks, not {shown(text)}")
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if text.lower() not in _BOOLS:
            raise ValueError(f"must be true or false, not {shown(text)}")
        return _BOOLS[text.lower()]
    if field.cpp_type in _INTEGERS:
        return _parse_integer(field, text)
    return _parse_number(text)


def _parse_integer(field: FieldDescriptor, text: str) -> int:
    low, high = _INTEGERS[field.cpp_type]
    if len(text) > 40:
        raise ValueError(f"must be a whole number, not {shown(text)}")
    if _INTEGER.fullmatch(text):
        value = int(text.replace("_", ""))
    elif _NUMBER.fullmatch(text) and float(text.replace("_", "")).is_integer():
        value = int(float(text.replace("_", "")))  # 1e3, as people write it
    else:
        raise ValueError(f"must be a whole number, not {shown(text)}")
    if not low <= value <= high:
        raise ValueError(f"must be a whole number from {low} to {high}, not {shown(text)}")
    return value


def _parse_number(text: str) -> float:
    """Also `1e-4`, which YAML 1.1 takes for text."""
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text.replace("_", ""))):
        raise ValueError(f"must be a number, not {shown(text)}")
    return float(text.replace("_", ""))


def enum_prefix(enum: EnumDescriptor) -> str:
    """What every name of the enum begins with, such as `ADAPTER_TYPE_`."""
    return enum.values[0].name.removesuffix("UNSPECIFIED")


def enum_words(enum: EnumDescriptor) -> list[str]:
    """The short names, such as `lora`, in order; the unspecified one is left out."""
    return [enum_word(enum, value.number) for value in enum.values if value.number != 0]


def enum_word(enum: EnumDescriptor, number: int) -> str:
    """The short name of a number, or the number itself if a newer version named it."""
    value = enum.values_by_number.get(number)
    return value.name.removeprefix(enum_prefix(enum)).lower() if value else str(number)


def parse_enum(enum: EnumDescriptor, text: str) -> int:
    """The number of a short name (`lora`) or a full one (`ADAPTER_TYPE_LORA`), in any case; else ValueError."""
    word = text.lower().replace("-", "_").removeprefix(enum_prefix(enum).lower())
    words = enum_words(enum)
    if word in words:
        return enum.values_by_name[enum_prefix(enum) + word.upper()].number
    near = difflib.get_close_matches(word, words, n=1)
    hint = f" (nearest is {near[0]})" if near else ""
    raise ValueError(f"must be one of {', '.join(words)}, not {shown(text)}{hint}")


def parse_duration(text: str) -> duration_pb2.Duration:
    """`2h`, `90m`, `30s`, `1h30m`, `0.5s`; ValueError says what was expected."""
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"must be a time with its unit, such as 2h, 90m, 30s or 1h30m, not {shown(text)}")
    parts = zip(match.groups(), _UNIT_SECONDS.values(), strict=True)
    nanos = sum(Decimal(number) * unit * _NANOS for number, unit in parts if number is not None)
    if nanos > _LONGEST_SECONDS * _NANOS:
        raise ValueError(f"must be a shorter time than {shown(text)}")
    seconds, rest = divmod(int(nanos), _NANOS)
    return duration_pb2.Duration(seconds=seconds, nanos=rest)


def format_duration(duration: duration_pb2.Duration) -> str:
    """In the largest units that leave nothing over: `1h30m`, `2.5s`, `0s`."""
    rest, parts = duration.seconds, ""
    for unit, size in _UNIT_SECONDS.items():
        count, rest = divmod(rest, size)
        if unit == "s" and (duration.nanos or count or not parts):
            parts += f"{count}.{duration.nanos:09d}".rstrip("0").rstrip(".") + "s" if duration.nanos else f"{count}s"
        elif count and unit != "s":
            parts += f"{count}{unit}"
    return parts


def kind_of(field: FieldDescriptor) -> str:
    """What a field wants, in words."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return f"one of {', '.join(enum_words(enum_of(field)))}"
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        return "a time such as 2h, 90m or 30s" if is_duration(field) else "a group of fields"
    words = {FieldDescriptor.CPPTYPE_STRING: "text", FieldDescriptor.CPPTYPE_BOOL: "true or false"}
    if field.cpp_type in _INTEGERS:
        return "a whole number"
    return words.get(field.cpp_type, "a number")


def shown(text: str) -> str:
    """A value in a sentence, cut if it is long."""
    return repr(text) if len(text) <= 60 else repr(text[:60]) + "…"
