"""Messages of the contract as records in the store: ProtoJSON, written once, each with the version of its layout."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from store.object_store import AlreadyExists, NotFound, ObjectStore, RecordError
from store.uris import encoded

SCHEMA_VERSION = 1
"""The newest layout of records that this version writes and reads. It rises when older readers would misunderstand."""

_SMALL = 64 << 10
"""Bytes of a message up to which its JSON may be kept for a while."""

M = TypeVar("M", bound=Message)
T = TypeVar("T")


class Remembers(ABC):
    """A store that keeps what never changes, together with what was read out of it."""

    @abstractmethod
    def parsed(self, key: str, kind: object, parse: Callable[[bytes], T]) -> T:
        """What `parse` makes of the content; `kind` stands for it. Perhaps the same object again: nobody changes it.

        Raises NotFound, and what `parse` raises.
        """

    @abstractmethod
    def keep(self, key: str, kind: object, parsed: object) -> None:
        """Spares the first `parse` of what was written just now. Nobody changes `parsed` any more."""


def put_record(store: ObjectStore, key: str, message: Message, verbatim: Mapping[str, Any] | None = None) -> bool:
    """Writes a record that is never changed. True if it is now ours, False if another one was there; that one stays.

    `verbatim` are fields by their JSON names as they shall stand there, in the place of the message's own.
    """
    message = _versioned(message)
    content = _to_json(message)
    if verbatim:
        content = json.dumps(json.loads(content) | verbatim, ensure_ascii=False, separators=(",", ":")).encode()
    try:
        store.put_new(key, content)
    except AlreadyExists:
        return False
    if isinstance(store, Remembers) and not verbatim:
        store.keep(key, type(message), _copied(message))
    return True


def fields_as_written(store: ObjectStore, key: str) -> dict[str, Any]:
    """A record's fields by their JSON names, with all that a newer version may have written into them; empty if there is none.

    Raises RecordError for what is no record.
    """
    try:
        fields = json.loads(store.get(key))
    except NotFound:
        return {}
    except ValueError as error:
        raise RecordError(f"{uri_of(store, key)} is no readable record: {error}") from error
    return fields if isinstance(fields, dict) else {}


def put_status_record(store: ObjectStore, key: str, message: Message) -> None:
    """Writes, or replaces, a status record. Each has exactly one writer."""
    store.put_status(key, _to_json(_versioned(message)))


def read_record(store: ObjectStore, key: str, message_type: type[M]) -> M | None:
    """The record of that key, or None if there is none.

    Fields that this version does not know are passed over: a later one may add them without raising the schema version.
    Raises RecordError for what is no such record, or has a newer schema version.
    """

    def parse(content: bytes) -> M:
        return _parsed(content, message_type, uri_of(store, key))

    try:
        if isinstance(store, Remembers):
            return _copied(store.parsed(key, message_type, parse))  # what is remembered is nobody's to change
        return parse(store.get(key))
    except NotFound:
        return None


def _parsed(content: bytes, message_type: type[M], uri: str) -> M:
    """Raises RecordError."""
    message = message_type()
    try:
        json_format.Parse(content, message, ignore_unknown_fields=True)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"{uri} is not a readable {message.DESCRIPTOR.name}: {error}") from error
    _check_version(message, uri)
    return message


def uri_of(store: ObjectStore, key: str) -> str:
    """The full address of a key, or of a folder of keys, as an Assignment carries it."""
    return store.uri + encoded(key)


def _to_json(message: Message) -> bytes:
    """The message as compact ProtoJSON."""
    serialized = message.SerializeToString(deterministic=True)
    if len(serialized) > _SMALL:
        return _json_of(type(message), serialized)
    return _json_of_small(type(message), serialized)


def _json_of(message_type: type[Message], serialized: bytes) -> bytes:
    message = message_type.FromString(serialized)
    return json_format.MessageToJson(message, indent=None, ensure_ascii=False).encode()


# The stubs take a message's class for unhashable, because its instances are.
_json_of_small: Callable[[type[Message], bytes], bytes] = lru_cache(maxsize=64)(_json_of)  # type: ignore[assignment]
"""One record is often written under two keys, and its JSON is most of the processor's time that a record takes."""


def _versioned(message: M) -> M:
    """The message with its schema version filled in where it was left unset."""
    if _has_version(message) and not getattr(message, "schema_version", 0):
        message = _copied(message)
        setattr(message, "schema_version", SCHEMA_VERSION)  # noqa: B010 (not every message has it)
    return message


def _copied(message: M) -> M:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _has_version(message: Message) -> bool:
    return "schema_version" in message.DESCRIPTOR.fields_by_name


def _check_version(message: Message, uri: str) -> None:
    version = getattr(message, "schema_version", SCHEMA_VERSION)
    if not 1 <= version <= SCHEMA_VERSION:
        remedy = "upgrade this program" if version > SCHEMA_VERSION else "it is damaged or not from Loramill"
        raise RecordError(f"{uri} has schema version {version}, expected 1 to {SCHEMA_VERSION}: {remedy}")
