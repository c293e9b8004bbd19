"""Files of datasets that callers send straight to the object store. Synchronous: called in threads.

A caller sends a content to an address in a place of its own, which neither trainers nor readers ever see. Completing moves
it, inside the store, to where UploadFile would have put it. Addresses can be used again until they expire, so nothing that
one of them names is ever taken at its word: either the store itself refuses every content but the one that was announced, or
a copy that no address names is read and compared before it counts.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from loramill import v1
from service import keys
from service.caller import Caller
from service.datasets import Datasets, dataset_id
from service.direct_transfers import DirectTransfers
from service.errors import InvalidRequest, Violation
from service.streaming import Announced
from service.times import to_timestamp
from service.uploads import violations_of_file
from service.verification import sha256_of_stored
from store.object_store import NotFound, ObjectStore

MOST_FILES = 100
_LARGEST_COPY = 5 << 30
"""Bytes. S3 copies no larger object at once."""


def violations_of_files(files: Sequence[v1.DatasetFile], size_limit: int) -> list[Violation]:
    """Everything that is wrong with the files of a request. Pure."""
    if not 1 <= len(files) <= MOST_FILES:
        return [
            Violation(
                "files", f"files has {len(files)} entries, but must have 1 to {MOST_FILES}; send several requests."
            )
        ]
    found: list[Violation] = []
    by_path: dict[str, v1.DatasetFile] = {}
    for number, file in enumerate(files):
        announced = Announced(f"files[{number}]", file.path, file.size_bytes, file.sha256)
        found += violations_of_file(file, announced, size_limit)
        if by_path.setdefault(file.path, file) != file:
            text = f"files[{number}].path {file.path[:80]!r} is announced twice with different contents; leave one out."
            found.append(Violation(f"files[{number}].path", text, "CONFLICT"))
    return found


@dataclass(frozen=True)
class DirectUploads:
    """Gives out addresses for files, and adds the files that came."""

    datasets: Datasets
    direct: DirectTransfers
    size_limit: int
    """Bytes of one file."""

    def urls(self, caller: Caller, request: v1.CreateUploadUrlsRequest) -> v1.CreateUploadUrlsResponse:
        """One address a file. Raises InvalidRequest, and as Datasets.check_takes."""
        dataset = self._checked(request.dataset, request.files)
        return v1.CreateUploadUrlsResponse(urls=[self._url(caller.tenant, dataset, file) for file in request.files])

    def complete(self, caller: Caller, request: v1.CompleteUploadsRequest) -> v1.CompleteUploadsResponse:
        """Adds all files, or none if one of them did not come as announced. Raises as `urls`, and Interrupted."""
        dataset = self._checked(request.dataset, request.files)
        check = self.datasets.check_takes
        new = {n: file for n, file in enumerate(request.files) if not check(caller.tenant, dataset, file)}
        arrivals = _Arrivals(self.datasets.store, self.direct, caller.tenant, dataset)
        try:
            found = [problem for number, file in new.items() if (problem := arrivals.examine(f"files[{number}]", file))]
            if found:
                raise InvalidRequest(found)
            for file in new.values():
                self.datasets.add(caller, dataset, file, arrivals.put)
            arrivals.clear(new.values())
        finally:
            arrivals.remove_copies()
        return v1.CompleteUploadsResponse(files=request.files)

    def _checked(self, name: str, files: Sequence[v1.DatasetFile]) -> str:
        """The dataset's id. Raises InvalidRequest."""
        found = violations_of_files(files, min(self.size_limit, _LARGEST_COPY))
        if not name:
            found.insert(0, Violation("dataset", "dataset is required; give datasets/<id>.", "REQUIRED"))
        if found:
            raise InvalidRequest(found)
        return dataset_id(name, "dataset")

    def _url(self, tenant: str, dataset: str, file: v1.DatasetFile) -> v1.UploadUrl:
        tenant_keys = keys.TenantKeys(tenant)
        there = self.datasets.check_takes(tenant, dataset, file)
        if there or _size(self.datasets.store, tenant_keys.dataset(dataset).blob(file.sha256)) == file.size_bytes:
            return v1.UploadUrl(file=file)
        key = tenant_keys.upload(dataset, file.sha256)
        address = self.direct.addresses.upload(key, file.size_bytes, file.sha256, self.direct.lifetime)
        return v1.UploadUrl(
            file=file, url=address.url, headers=address.headers, expire_time=to_timestamp(address.expire_time)
        )


@dataclass
class _Arrivals:
    """What callers have sent of one dataset, as one request finds it."""

    store: ObjectStore
    direct: DirectTransfers
    tenant: str
    dataset: str
    _sources: dict[str, str] = field(default_factory=dict)
    """By the key of a blob, where its content lies."""
    _copies: list[str] = field(default_factory=list)

    def examine(self, path: str, file: v1.DatasetFile) -> Violation | None:
        """What is wrong with a content; what is wrong is removed, so that it can be sent again."""
        blob, sent = self._blob(file), self._sent(file)
        if blob in self._sources or _size(self.store, blob) == file.size_bytes:
            return None
        size = _size(self.store, sent)
        if size is None:
            text = (
                f"{path} {file.path[:80]!r} has not come; send it to an address of CreateUploadUrls, or by UploadFile."
            )
            return Violation(path, text, "NOT_SENT")
        if size != file.size_bytes:
            self.store.delete(sent)
            text = f"{path}.size_bytes of {file.path[:80]!r} is {file.size_bytes}, but {size} bytes came; send the file again."
            return Violation(f"{path}.size_bytes", text, "SIZE_MISMATCH")
        return self._examine_content(path, file)

    def put(self, blob: str) -> None:
        """Stores a blob that was examined."""
        if blob not in self._sources:
            return
        try:
            self.direct.addresses.copy(self._sources[blob], blob)
        except NotFound:
            self.store.info(blob)  # another call has completed the same file just now, or this raises NotFound

    def clear(self, files: Iterable[v1.DatasetFile]) -> None:
        """Removes what was sent of files that have been added."""
        for file in files:
            self.store.delete(self._sent(file))

    def remove_copies(self) -> None:
        """Removes the copies that were made to be compared."""
        for copy in self._copies:
            self.store.delete(copy)

    def _examine_content(self, path: str, file: v1.DatasetFile) -> Violation | None:
        sent = self._sent(file)
        if self.direct.checks_content:
            self._sources[self._blob(file)] = sent
            return None
        copy = f"{sent}.{uuid.uuid4().hex}"
        self._copies.append(copy)
        self.direct.addresses.copy(sent, copy)
        found = sha256_of_stored(self.store, copy, file.size_bytes)
        if found != file.sha256:
            self.store.delete(sent)
            text = (
                f"{path}.sha256 of {file.path[:80]!r} is {file.sha256}, but what came has {found}; send the file again."
            )
            return Violation(f"{path}.sha256", text, "DIGEST_MISMATCH")
        self._sources[self._blob(file)] = copy
        return None

    def _blob(self, file: v1.DatasetFile) -> str:
        return keys.TenantKeys(self.tenant).dataset(self.dataset).blob(file.sha256)

    def _sent(self, file: v1.DatasetFile) -> str:
        return keys.TenantKeys(self.tenant).upload(self.dataset, file.sha256)


def _size(store: ObjectStore, key: str) -> int | None:
    """Bytes of an object; None if there is none."""
    with suppress(NotFound):
        return store.info(key).size
    return None
