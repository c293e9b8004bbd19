"""Adapters from elsewhere, for jobs to go on from: streamed aside, examined, then stored. Hostile until proven otherwise.

The request's record is the one point at which an adapter comes to be; file, manifest and index follow from it, and are
completed by a repetition of the call. Of the file only the header is read here: never a weight, never a pickle.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from loramill import v1
from service import indexes, keys
from service.adapter_files import FoundAdapter, UnknownAdapter, examine
from service.audit import Audit
from service.caller import Caller
from service.errors import InvalidRequest, Refused, ResourceExists, Violation, invalid
from service.layout import PICKLES
from service.safetensors_header import Header, HeaderError, read_header, tensors_sha256
from service.streaming import Announced, Staging, stream, violations_of_content
from service.times import to_timestamp, utc_now
from service.validation import violations_of_request_id
from store.object_store import AlreadyExists, ObjectStore
from store.records import put_record, read_record

_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,187}\.safetensors")
_LARGEST_HEADER = 32 << 20
"""Bytes; a thousand layers take some 1 MB, thumbnails and counted tags in the metadata some more."""


def violations_of_header(header: v1.UploadAdapterHeader, size_limit: int) -> list[Violation]:
    """Everything that is wrong with an upload's first message. Pure."""
    field, name = "header.file_name", header.file_name
    found = []
    if name.lower().endswith(PICKLES):
        text = f"{field} is {name[:80]!r}, a pickle, which is never loaded; save the same weights as safetensors."
        found.append(Violation(field, text, "PICKLE"))
    elif not _FILE_NAME.fullmatch(name):
        text = (
            f"{field} is {name[:80]!r}, but must be 1 to 200 letters, digits, '.', '_' and '-' that end in .safetensors; "
            "rename it."
        )
        found.append(Violation(field, text, "INVALID_NAME"))
    return [*found, *violations_of_content(_announced(header), 1, size_limit), *_of_request_id(header.request_id)]


def _announced(header: v1.UploadAdapterHeader) -> Announced:
    return Announced("header", header.file_name, header.size_bytes, header.sha256)


def _of_request_id(request_id: str) -> list[Violation]:
    return [
        Violation(f"header.{violation.field}", f"header.{violation.description}", violation.reason)
        for violation in violations_of_request_id(request_id)
    ]


@dataclass(frozen=True)
class AdapterUploads:
    """Takes uploads, each through a temporary file of its own."""

    store: ObjectStore
    audit: Audit
    staging: Staging
    size_limit: int
    """Bytes of one adapter."""
    clock: Callable[[], datetime] = utc_now

    async def take(self, caller: Caller, requests: AsyncIterator[v1.UploadAdapterRequest]) -> v1.Adapter:
        """The adapter as it is stored; with the request_id of an earlier call, the one that it made.

        Raises InvalidRequest, ResourceExists for a request_id that brought another file, Refused for a deleted adapter.
        """
        header = await _header_of(requests)
        found = violations_of_header(header, self.size_limit)
        if found:
            raise InvalidRequest(found)
        # Without a request_id nothing is de-duplicated: the id drawn here is never seen again.
        key = keys.TenantKeys(caller.tenant).adapter_request(header.request_id or uuid.uuid4().hex)
        await asyncio.to_thread(self._check_request, caller.tenant, key, header)
        async with self.staging.file(caller.tenant) as staged:
            await stream(requests, _announced(header), staged)
            return await asyncio.to_thread(self._add, caller, key, header, Path(staged.name))

    def _check_request(self, tenant: str, key: str, header: v1.UploadAdapterHeader) -> None:
        """Before the bytes, and again when the record is written."""
        record = read_record(self.store, key, v1.AdapterManifest)
        if record is None:
            return
        file, name = record.adapter.files[0], record.adapter.name
        if (file.file_name, file.sha256) != (header.file_name, header.sha256):
            raise ResourceExists(
                f"request_id {header.request_id!r} has already made {name} from another file; "
                "use a new request_id for another adapter."
            )
        deleted = keys.TenantKeys(tenant).deleted_adapter(_id_of(record.adapter))
        if read_record(self.store, deleted, v1.Tombstone) is not None:
            raise Refused(f"{name}, which this request_id made, was deleted; use a new request_id.", "ADAPTER_DELETED")

    def _add(self, caller: Caller, key: str, header: v1.UploadAdapterHeader, content: Path) -> v1.Adapter:
        read, found = _examined(header.file_name, content)
        record = read_record(self.store, key, v1.AdapterManifest)
        if record is None:
            adapter = self._described(header, found, tensors_sha256(content, read))
            self.audit.record(caller, adapter.name)
            record = v1.AdapterManifest(adapter=adapter)
            put_record(self.store, key, record)
            record = read_record(self.store, key, v1.AdapterManifest) or record
        self._check_request(caller.tenant, key, header)
        self._complete(caller.tenant, record, content)
        return record.adapter

    def _described(self, header: v1.UploadAdapterHeader, found: FoundAdapter, digest: str) -> v1.Adapter:
        now = self.clock()
        file = v1.AdapterFile(
            format=found.format, file_name=header.file_name, size_bytes=header.size_bytes, sha256=header.sha256
        )
        return v1.Adapter(
            name=keys.adapter_name(keys.new_uploaded_adapter(now)),
            type=found.type,
            rank=found.rank,
            files=[file],
            create_time=to_timestamp(now),
            tensors_sha256=digest,
        )

    def _complete(self, tenant: str, record: v1.AdapterManifest, content: Path) -> None:
        """Stores what the record describes, in an order in which nothing is listed before it is whole."""
        adapter = _id_of(record.adapter)
        adapter_keys = keys.TenantKeys(tenant).uploaded_adapter(adapter)
        with suppress(AlreadyExists):  # the record binds the id to one digest, so it is the same
            self.store.put_new(adapter_keys.file(record.adapter.files[0].file_name), content)
        put_record(self.store, adapter_keys.manifest, record)
        indexes.put_adapter(self.store, tenant, adapter, adapter_keys.manifest)


async def _header_of(requests: AsyncIterator[v1.UploadAdapterRequest]) -> v1.UploadAdapterHeader:
    async for request in requests:
        if request.WhichOneof("payload") == "header":
            return request.header
        break
    raise invalid("header", "The first message of an upload must carry header; send it before any data.", "REQUIRED")


def _examined(name: str, content: Path) -> tuple[Header, FoundAdapter]:
    """Raises InvalidRequest for what is no adapter."""
    try:
        header = read_header(content, _LARGEST_HEADER)
        return header, examine(header)
    except (HeaderError, UnknownAdapter) as error:
        raise invalid("data", f"{name} {error}.", "UNSUITABLE_ADAPTER") from error


def _id_of(adapter: v1.Adapter) -> str:
    return adapter.name.partition("/")[2]
