"""Datasets: opened, filled file by file, sealed, and then frozen with a manifest. Synchronous: called in threads.

No file is ever half in. An upload writes content, then the file's record, then looks for the seal; finalizing writes the
seal, then lists the records. So a record that was there before the seal is in the manifest, and whoever wrote one later
finds the seal and is told what came of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from loramill import v1
from service import indexes, keys
from service.audit import Audit
from service.caller import Caller
from service.dataset_checks import violations_of_opening
from service.errors import Interrupted, InvalidRequest, Refused, ResourceExists, ResourceNotFound, invalid
from service.pages import entry_before, page_size, page_token
from service.times import to_timestamp, utc_now
from store.digests import manifest_digest
from store.object_store import AlreadyExists, ObjectStore
from store.records import put_record, read_record

_PAST_FOLDER = "0"
"""Sorts right behind `/`: a listing that begins at `<id>0` skips everything below `<id>/`."""


def dataset_id(name: str, field: str = "name") -> str:
    """The id in `datasets/<id>`. Raises InvalidRequest."""
    dataset = keys.dataset_of_name(name)
    if dataset is None:
        text = f"{field} is {name[:80]!r}, but must be datasets/<id>, as CreateDataset gave it."
        raise invalid(field, text, "INVALID_NAME")
    return dataset


def no_dataset(dataset: str) -> ResourceNotFound:
    return ResourceNotFound(f"{keys.dataset_name(dataset)} does not exist; list the datasets, or create it.")


def _asked(dataset: v1.Dataset) -> v1.Dataset:
    """What of a dataset its creator says; all else the service knows."""
    asked = v1.Dataset(display_name=dataset.display_name)
    if dataset.HasField("input"):
        asked.input.CopyFrom(dataset.input)
    if dataset.HasField("suggested"):
        asked.suggested.CopyFrom(dataset.suggested)
    return asked


@dataclass(frozen=True)
class Datasets:
    """The datasets of the record."""

    store: ObjectStore
    audit: Audit
    clock: Callable[[], datetime] = utc_now

    def create(self, caller: Caller, request: v1.CreateDatasetRequest) -> v1.Dataset:
        """Opens a dataset; with the request_id of an earlier call, returns the one that it opened.

        Raises InvalidRequest, ResourceExists for a request_id that opened another one, Refused for a deleted one.
        """
        if found := violations_of_opening(request):
            raise InvalidRequest(found)
        asked = _asked(request.dataset)
        tenant_keys = keys.TenantKeys(caller.tenant)
        key = tenant_keys.dataset_request(request.request_id or uuid.uuid4().hex)
        record = read_record(self.store, key, v1.DatasetRecord) or self._put_new(caller, key, asked)
        dataset = dataset_id(record.dataset.name)
        if _asked(record.dataset) != asked:
            raise ResourceExists(
                f"request_id {request.request_id!r} has already opened {record.dataset.name} with another display_name or input; "
                "use a new request_id for another dataset."
            )
        dataset_keys = tenant_keys.dataset(dataset)
        if read_record(self.store, dataset_keys.tombstone, v1.Tombstone) is not None:
            text = f"{record.dataset.name}, which this request_id opened, was deleted; use a new request_id."
            raise Refused(text, "DATASET_DELETED")
        put_record(self.store, dataset_keys.record, record)
        return self.get(caller.tenant, dataset)

    def opened_by(self, caller: Caller, request_id: str) -> v1.Dataset | None:
        """The dataset that a request opened before; None if it opened none, or that was deleted."""
        key = keys.TenantKeys(caller.tenant).dataset_request(request_id)
        record = read_record(self.store, key, v1.DatasetRecord) if request_id else None
        return None if record is None else self.find(caller.tenant, dataset_id(record.dataset.name))

    def files(self, tenant: str, dataset: str) -> Iterator[v1.DatasetFile]:
        """The files that are in it so far, in no order."""
        return self._files(keys.TenantKeys(tenant).dataset(dataset))

    def paths(self, tenant: str, dataset: v1.Dataset) -> list[str]:
        """The paths of a finalized dataset's files."""
        manifest_key = keys.TenantKeys(tenant).dataset(dataset_id(dataset.name)).manifest
        manifest = read_record(self.store, manifest_key, v1.FileManifest)
        return [file.path for file in manifest.files] if manifest is not None else []

    def find(self, tenant: str, dataset: str) -> v1.Dataset | None:
        """The dataset; None if there is none or it was deleted."""
        dataset_keys = keys.TenantKeys(tenant).dataset(dataset)
        record = read_record(self.store, dataset_keys.record, v1.DatasetRecord)
        if record is None or read_record(self.store, dataset_keys.tombstone, v1.Tombstone) is not None:
            return None
        found = record.dataset
        manifest = read_record(self.store, dataset_keys.manifest, v1.FileManifest)
        found.state = v1.DATASET_STATE_OPEN if manifest is None else v1.DATASET_STATE_FINALIZED
        if manifest is not None:
            found.digest = manifest.digest
            found.file_count = len(manifest.files)
            found.size_bytes = sum(file.size_bytes for file in manifest.files)
            seal = read_record(self.store, dataset_keys.seal, v1.DatasetSeal)
            if seal is not None:
                found.finalize_time.CopyFrom(seal.create_time)
        return found

    def get(self, tenant: str, dataset: str) -> v1.Dataset:
        """Raises ResourceNotFound."""
        found = self.find(tenant, dataset)
        if found is None:
            raise no_dataset(dataset)
        return found

    def page(self, tenant: str, request: v1.ListDatasetsRequest) -> v1.ListDatasetsResponse:
        """One page, newest first."""
        size = page_size(request.page_size)
        after = entry_before(request.page_token, "datasets")
        response = v1.ListDatasetsResponse()
        for dataset in self._ids(tenant, after):
            found = self.find(tenant, dataset)
            if found is None:
                continue
            if len(response.datasets) == size:
                response.next_page_token = page_token(dataset_id(response.datasets[-1].name), "datasets")
                break
            found.ClearField("input")  # of many a page would become too large
            found.ClearField("suggested")
            response.datasets.append(found)
        return response

    def check_takes(self, tenant: str, dataset: str, file: v1.DatasetFile) -> bool:
        """Before the bytes: True if the file is there already. Raises ResourceNotFound, ResourceExists, Refused."""
        found = self.get(tenant, dataset)
        dataset_keys = keys.TenantKeys(tenant).dataset(dataset)
        record = read_record(self.store, dataset_keys.file(file.path), v1.DatasetFileRecord)
        if record is not None and record.file != file:
            raise ResourceExists(
                f"{found.name} already has another content at {file.path!r}; upload this one under another path, "
                "or begin a new dataset."
            )
        if read_record(self.store, dataset_keys.seal, v1.DatasetSeal) is None:
            return record is not None
        self._told_by_manifest(dataset_keys, found.name, file)
        return True

    def add(self, caller: Caller, dataset: str, file: v1.DatasetFile, put: Callable[[str], None]) -> None:
        """Adds a file whose content has been checked; `put` stores it under a key. Raises as `check_takes`, and Interrupted."""
        if self.check_takes(caller.tenant, dataset, file):
            return
        name = keys.dataset_name(dataset)
        dataset_keys = keys.TenantKeys(caller.tenant).dataset(dataset)
        self.audit.record(caller, f"{name}/files/{keys.digest_of_path(file.path)}")
        with suppress(AlreadyExists):  # named by its content, so it is the same
            put(dataset_keys.blob(file.sha256))
        put_record(self.store, dataset_keys.file(file.path), v1.DatasetFileRecord(file=file))
        written = read_record(self.store, dataset_keys.file(file.path), v1.DatasetFileRecord)
        if written is None or written.file != file:
            raise ResourceExists(
                f"{name} was given another content at {file.path!r} at the same moment; upload this one under another path."
            )
        if read_record(self.store, dataset_keys.seal, v1.DatasetSeal) is not None:
            self._told_by_manifest(dataset_keys, name, file)

    def finalize(self, caller: Caller, dataset: str) -> v1.Dataset:
        """Freezes the dataset with all its files. Again is accepted. Raises ResourceNotFound; Refused for an empty one."""
        found = self.get(caller.tenant, dataset)
        if found.state == v1.DATASET_STATE_FINALIZED:
            return found
        dataset_keys = keys.TenantKeys(caller.tenant).dataset(dataset)
        if next(iter(self.store.list(dataset_keys.files_prefix)), None) is None:
            raise Refused(f"{found.name} has no files; upload some, then finalize it.", "DATASET_EMPTY")
        self.audit.record(caller, found.name)
        put_record(self.store, dataset_keys.seal, v1.DatasetSeal(create_time=to_timestamp(self.clock())))
        files = sorted(self._files(dataset_keys), key=lambda file: file.path.encode())
        put_record(self.store, dataset_keys.manifest, v1.FileManifest(files=files, digest=manifest_digest(files)))
        return self.get(caller.tenant, dataset)

    def delete(self, caller: Caller, dataset: str) -> None:
        """Removes a dataset. Again is accepted, and finishes what an interrupted call left.

        Raises ResourceNotFound; Refused while a living job uses it. A job that is accepted in the same moment, between the
        last look and the removal, fails with a sentence that names the missing dataset.
        """
        dataset_keys = keys.TenantKeys(caller.tenant).dataset(dataset)
        if read_record(self.store, dataset_keys.tombstone, v1.Tombstone) is None:
            self.get(caller.tenant, dataset)
            self._refuse_used(caller.tenant, dataset)
            self.audit.record(caller, keys.dataset_name(dataset))
            put_record(self.store, dataset_keys.tombstone, v1.Tombstone(create_time=to_timestamp(self.clock())))
            # Jobs are refused from here on; one that came since the first look keeps its dataset.
            try:
                self._refuse_used(caller.tenant, dataset)
            except Refused:
                self.store.delete(dataset_keys.tombstone)
                raise
        for entry in list(self.store.list(dataset_keys.root)):
            if entry.key != dataset_keys.tombstone:
                self.store.delete(entry.key)

    def _put_new(self, caller: Caller, key: str, asked: v1.Dataset) -> v1.DatasetRecord:
        """Records the dataset; where another call with the same request_id was first, its record."""
        now = self.clock()
        name = keys.dataset_name(keys.new_id(now))
        self.audit.record(caller, name)
        opened = v1.Dataset(name=name, create_time=to_timestamp(now))
        opened.MergeFrom(asked)
        put_record(self.store, key, v1.DatasetRecord(dataset=opened))
        written = read_record(self.store, key, v1.DatasetRecord)
        return written if written is not None else v1.DatasetRecord(dataset=opened)

    def _told_by_manifest(self, dataset_keys: keys.DatasetKeys, name: str, file: v1.DatasetFile) -> None:
        """Whether a file is in a sealed dataset: returns if so. Raises Refused if not, Interrupted if nobody knows yet."""
        manifest = read_record(self.store, dataset_keys.manifest, v1.FileManifest)
        if manifest is None:
            raise Interrupted(f"{name} is being finalized; upload {file.path!r} again to learn whether it is in.")
        if file not in manifest.files:
            raise Refused(
                f"{name} is finalized and takes no more files, so {file.path!r} is not in it; begin a new dataset.",
                "DATASET_FINALIZED",
            )

    def _files(self, dataset_keys: keys.DatasetKeys) -> Iterator[v1.DatasetFile]:
        for entry in self.store.list(dataset_keys.files_prefix):
            record = read_record(self.store, entry.key, v1.DatasetFileRecord)
            if record is not None:
                yield record.file

    def _ids(self, tenant: str, after: str) -> Iterator[str]:
        """Ids of datasets, newest first, one look at the store each: what lies in them is skipped."""
        prefix = keys.TenantKeys(tenant).datasets_prefix
        while (
            entry := next(iter(self.store.list(prefix, f"{prefix}{after}{_PAST_FOLDER}" if after else "")), None)
        ) is not None:
            after = keys.part_after(prefix, entry.key)
            yield after

    def _refuse_used(self, tenant: str, dataset: str) -> None:
        name = keys.dataset_name(dataset)
        job = indexes.living_job(self.store, tenant, lambda record: record.spec.dataset.dataset == name)
        if job is not None:
            raise Refused(f"{name} is used by {keys.job_name(job)}, which has not ended; cancel it or wait.", "IN_USE")
