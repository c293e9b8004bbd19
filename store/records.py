"""Messages of the contract as records in the store: ProtoJSON, written once, each with the version of its layout."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from store.object_store import AlreadyExists, NotFound, ObjectStore, RecordError
from store.uris import encoded

SCHEMA_VERSION = 1
"""The newest layout of records that this version writes and reads. It rises when older readers would misunderstand."""

M = TypeVar("M", bound=Message)


def put_record(store: ObjectStore, key: str, message: Message) -> bool:
    """Writes a record that is never changed. True if it is now ours, False if another one was there; that one stays."""
    try:
        store.put_new(key, _to_json(message))
    except AlreadyExists:
        return False
    return True


def put_status_record(store: ObjectStore, key: str, message: Message) -> None:
    """Writes, or replaces, a status record. Each has exactly one writer."""
    store.put_status(key, _to_json(message))


def read_record(store: ObjectStore, key: str, message_type: type[M]) -> M | None:
    """The record of that key, or None if there is none.

    Fields that this version does not know are passed over: a later one may add them without raising the schema version.
    Raises RecordError for what is no such record, or has a newer schema version.
    """
    try:
        content = store.get(key)
    except NotFound:
        return None
    message = message_type()
    try:
        json_format.Parse(content, message, ignore_unknown_fields=True)
    except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        name = message.DESCRIPTOR.name
        raise RecordError(f"{uri_of(store, key)} is not a readable {name}: {error}") from error
    _check_version(message, uri_of(store, key))
    return message


def uri_of(store: ObjectStore, key: str) -> str:
    """The full address of a key, or of a folder of keys, as an Assignment carries it."""
    return store.uri + encoded(key)


def _to_json(message: Message) -> bytes:
    """The message as compact ProtoJSON, its schema version filled in where it was left unset."""
    if _has_version(message) and not getattr(message, "schema_version", 0):
        copy = type(message)()
        copy.CopyFrom(message)
        message = copy
        setattr(message, "schema_version", SCHEMA_VERSION)  # noqa: B010 (not every message has it)
    return json_format.MessageToJson(message, indent=None, ensure_ascii=False).encode()


def _has_version(message: Message) -> bool:
    return "schema_version" in message.DESCRIPTOR.fields_by_name


def _check_version(message: Message, uri: str) -> None:
    version = getattr(message, "schema_version", SCHEMA_VERSION)
    if not 1 <= version <= SCHEMA_VERSION:
        remedy = "upgrade this program" if version > SCHEMA_VERSION else "it is damaged or not from Loramill"
        raise RecordError(f"{uri} has schema version {version}, expected 1 to {SCHEMA_VERSION}: {remedy}")
