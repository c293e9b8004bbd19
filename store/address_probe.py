"""Whether a store's addresses do what callers are told of them, found out by using some: run once when the service starts."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import botocore.session
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session

from store.addresses import Address, Addresses
from store.object_store import NotFound, ObjectStore, StoreError
from store.probe import PROBE_PREFIX
from store.s3_client import reported

_LIFETIME = timedelta(minutes=1)
_CONTENT, _OTHER, _LONGER = b"as announced", b"as annOunced", b"as announced, and more"


@dataclass(frozen=True)
class AddressFindings:
    """What the probe found."""

    faults: tuple[str, ...]
    """Why addresses must not be given out; none if they may."""
    checks_content: bool
    """Whether the store itself refuses a content that has another SHA-256 than was signed."""


def probe_addresses(store: ObjectStore, addresses: Addresses) -> AddressFindings:
    """Sends right and wrong contents to addresses of `store`, as callers would. Raises StoreUnavailable. Leaves nothing."""
    keys = [f"{PROBE_PREFIX}{uuid.uuid4().hex}" for _ in range(3)]
    try:
        return AddressFindings(
            tuple(_faults(store, addresses, *keys[:2])), _refuses(store, addresses, keys[2], _OTHER, len(_CONTENT))
        )
    finally:
        for key in keys:
            with contextlib.suppress(StoreError):
                store.delete(key)


def _faults(store: ObjectStore, addresses: Addresses, key: str, other_key: str) -> Iterator[str]:
    address = addresses.upload(key, len(_CONTENT), _digest(_CONTENT), _LIFETIME)
    status = _send(address, _CONTENT)
    if _content(store, key) != _CONTENT:
        yield f"what is sent to an address is not stored (HTTP status {status})"
        return
    store.delete(key)
    store.put_new(key, _OTHER)
    _send(address, _CONTENT)
    if _content(store, key) != _OTHER:
        yield "what is sent to an address takes the place of an object that exists"
    if not _refuses(store, addresses, other_key, _LONGER, len(_CONTENT)):
        yield "more bytes than were announced are taken"


def _refuses(store: ObjectStore, addresses: Addresses, key: str, content: bytes, announced: int) -> bool:
    """Whether the store keeps nothing of a content that is not `_CONTENT`."""
    address = addresses.upload(key, announced, _digest(_CONTENT), _LIFETIME)
    headers = {**address.headers, "Content-Length": str(len(content))}
    _send(Address(address.url, headers, address.expire_time), content)
    return _content(store, key) is None


def _send(address: Address, content: bytes) -> int:
    """The HTTP status. The CA bundle is the store's."""
    bundle = botocore.session.get_session().get_config_variable("ca_bundle")
    request = AWSRequest("PUT", address.url, headers=dict(address.headers), data=content).prepare()
    with reported(address.url.partition("?")[0]):
        return URLLib3Session(verify=bundle or True).send(request).status_code


def _content(store: ObjectStore, key: str) -> bytes | None:
    try:
        return store.get(key)
    except NotFound:
        return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
