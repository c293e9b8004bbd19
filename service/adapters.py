"""Committed adapters: found by their index, described by their manifests. Synchronous: called in threads.

A deleted adapter leaves a tombstone and loses its manifest first, so that an index entry that a slow writer brings back
leads nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from loramill import v1
from service import keys
from service.adapter_index import complete_index
from service.audit import Audit
from service.caller import Caller
from service.errors import Refused, ResourceNotFound, invalid
from service.facts import read_facts
from service.generations import Generations
from service.initial_adapter import refuse_used
from service.jobs import job_id
from service.pages import entry_before, page_size, page_token
from service.promotions import Promotions
from service.stored_bytes import pieces
from service.times import to_timestamp, utc_now
from store.object_store import NotFound, ObjectStore
from store.records import put_record, read_record


def adapter_id(name: str, field: str = "name") -> str:
    """The id in `adapters/<id>`. Raises InvalidRequest."""
    adapter = keys.adapter_of_name(name)
    if adapter is None:
        raise invalid(field, f"{field} is {name[:80]!r}, but must be adapters/<id>, as a job lists it.", "INVALID_NAME")
    return adapter


def no_adapter(adapter: str) -> ResourceNotFound:
    return ResourceNotFound(f"{keys.adapter_name(adapter)} does not exist; list the adapters to see those that do.")


@dataclass(frozen=True)
class StoredAdapter:
    """An adapter and the folder of its files."""

    adapter: v1.Adapter
    folder: str


@dataclass(frozen=True)
class StoredFile:
    """One file of an adapter and where it lies."""

    file: v1.AdapterFile
    key: str


@dataclass(frozen=True)
class _Known:
    """What was read already of the jobs that adapters are of."""

    generations: Generations
    preferred: dict[str, str | None] = field(default_factory=dict)
    """The id of the preferred one, by the job's id."""


@dataclass(frozen=True)
class Adapters:
    """The adapters of the record."""

    store: ObjectStore
    audit: Audit
    clock: Callable[[], datetime] = utc_now

    def get(self, tenant: str, adapter: str) -> v1.Adapter:
        """Raises ResourceNotFound."""
        return self._told(self._known(tenant), tenant, self._found(tenant, adapter).adapter)

    def promote(self, caller: Caller, adapter: str) -> v1.Adapter:
        """Makes it its job's preferred one. Raises ResourceNotFound; Refused for one that belongs to no job."""
        found = self._found(caller.tenant, adapter).adapter
        if not found.training_job:
            raise Refused(
                f"{found.name} was uploaded and belongs to no job, so that it is in nobody's place; promote a job's adapter.",
                "NO_JOB",
            )
        job, promotions = keys.job_of_adapter(adapter), self._promotions
        if promotions.preferred(caller.tenant, job) != adapter:
            self.audit.record(caller, found.name)
            promotions.promote(caller.tenant, job, adapter)
        return self._told(self._known(caller.tenant), caller.tenant, found)

    def find(self, tenant: str, adapter: str) -> StoredAdapter | None:
        """None if there is no such adapter, or it was deleted."""
        manifest_key = self._manifest_key(tenant, adapter)
        if manifest_key is None:
            return None
        manifest = read_record(self.store, manifest_key, v1.AdapterManifest)
        if manifest is None:
            return None
        if read_record(self.store, keys.TenantKeys(tenant).deleted_adapter(adapter), v1.Tombstone) is not None:
            return None
        return StoredAdapter(manifest.adapter, manifest_key.rpartition("/")[0] + "/")

    def page(self, tenant: str, request: v1.ListAdaptersRequest) -> v1.ListAdaptersResponse:
        """One page, newest job first, within a job by step."""
        size = page_size(request.page_size)
        tenant_keys = keys.TenantKeys(tenant)
        job = request.training_job
        prefix = tenant_keys.adapters_of(job_id(job, "training_job")) if job else tenant_keys.adapters_prefix
        after = entry_before(request.page_token, "adapters", job)
        if job:
            self._complete_index(tenant, job_id(job))
        response, known = v1.ListAdaptersResponse(), self._known(tenant)
        for entry in self.store.list(prefix, tenant_keys.adapter(after) if after else ""):
            found = self.find(tenant, keys.part_after(tenant_keys.adapters_prefix, entry.key))
            if found is None:
                continue
            if len(response.adapters) == size:
                last = adapter_id(response.adapters[-1].name)
                response.next_page_token = page_token(last, "adapters", job)
                break
            response.adapters.append(self._told(known, tenant, found.adapter))
        return response

    def file(self, tenant: str, request: v1.DownloadAdapterRequest | v1.CreateDownloadUrlRequest) -> StoredFile:
        """The file asked for, by its name or by its format. Raises InvalidRequest, ResourceNotFound."""
        found = self._found(tenant, adapter_id(request.name))
        file = _chosen(found.adapter, request)
        return StoredFile(file, found.folder + file.file_name)

    def pieces(self, stored: StoredFile) -> Iterator[bytes]:
        """The bytes of a file, at most 1 MiB each. Raises ResourceNotFound, and Damaged if it is shorter than it was."""
        return pieces(self.store, stored.key, stored.file.size_bytes, stored.file.file_name)

    def delete(self, caller: Caller, adapter: str) -> None:
        """Removes an adapter. Again is accepted, and finishes what an interrupted call left.

        Raises ResourceNotFound; Refused while its job lives, or a living job goes on from it. A job that is accepted in the
        same moment, between the last look and the removal, fails with a sentence that names the missing file.
        """
        tenant_keys = keys.TenantKeys(caller.tenant)
        tombstone_key = tenant_keys.deleted_adapter(adapter)
        deleted = read_record(self.store, tombstone_key, v1.Tombstone) is not None
        manifest_key = self._manifest_key(caller.tenant, adapter)
        if manifest_key is None:
            if deleted:
                return
            raise no_adapter(adapter)
        if not deleted:
            self._found(caller.tenant, adapter)
            self._refuse_living(caller.tenant, adapter)
            refuse_used(self.store, caller.tenant, adapter)
            self.audit.record(caller, keys.adapter_name(adapter))
            put_record(self.store, tombstone_key, v1.Tombstone(create_time=to_timestamp(self.clock())))
            # Jobs are refused from here on; one that came since the first look keeps its adapter.
            try:
                refuse_used(self.store, caller.tenant, adapter)
            except Refused:
                self.store.delete(tombstone_key)
                raise
        self.store.delete(manifest_key)
        for entry in list(self.store.list(manifest_key.rpartition("/")[0] + "/")):
            self.store.delete(entry.key)
        # Last: until then a repetition finds what is left.
        self.store.delete(tenant_keys.adapter(adapter))

    @property
    def _promotions(self) -> Promotions:
        return Promotions(self.store, self.clock)

    def _known(self, tenant: str) -> _Known:
        return _Known(Generations(self.store, tenant))

    def _told(self, known: _Known, tenant: str, adapter: v1.Adapter) -> v1.Adapter:
        """With what its job makes of it."""
        if adapter.training_job:
            own_id = adapter_id(adapter.name)
            job = keys.job_of_adapter(own_id)
            if job not in known.preferred:
                known.preferred[job] = self._promotions.preferred(tenant, job)
            adapter.preferred = known.preferred[job] == own_id
            adapter.abandoned = known.generations.gave_up(adapter)
        return adapter

    def _found(self, tenant: str, adapter: str) -> StoredAdapter:
        found = self.find(tenant, adapter)
        if found is None:
            raise no_adapter(adapter)
        return found

    def _manifest_key(self, tenant: str, adapter: str) -> str | None:
        index_key = keys.TenantKeys(tenant).adapter(adapter)
        with suppress(NotFound):
            return self.store.get(index_key).decode()
        self._complete_index(tenant, keys.job_of_adapter(adapter))
        with suppress(NotFound):
            return self.store.get(index_key).decode()
        return None

    def _complete_index(self, tenant: str, job: str) -> None:
        facts = read_facts(self.store, tenant, job)
        if facts is not None and facts.tombstone is None:
            complete_index(self.store, facts)

    def _refuse_living(self, tenant: str, adapter: str) -> None:
        job = keys.job_of_adapter(adapter)
        facts = read_facts(self.store, tenant, job)
        if facts is not None and facts.tombstone is None and facts.outcome is None:
            raise Refused(
                f"{keys.adapter_name(adapter)} belongs to {keys.job_name(job)}, which has not ended; cancel it or wait.",
                "IN_USE",
            )


def _chosen(adapter: v1.Adapter, request: v1.DownloadAdapterRequest | v1.CreateDownloadUrlRequest) -> v1.AdapterFile:
    """The first file of that name or format; KOHYA if neither is given."""
    if request.file_name and request.format:
        text = "file_name and format are both set, but one says which file; leave one out."
        raise invalid("file_name", text, "CONFLICT")
    wanted = request.format or v1.ADAPTER_FORMAT_KOHYA
    for file in adapter.files:
        if file.file_name == request.file_name or (not request.file_name and file.format == wanted):
            return file
    there = ", ".join(f"{file.file_name} ({_format_word(file.format)})" for file in adapter.files)
    asked = f"named {request.file_name[:80]!r}" if request.file_name else f"of format {_format_word(wanted)}"
    raise ResourceNotFound(f"{adapter.name} has no file {asked}; it has {there}.")


def _format_word(number: v1.AdapterFormat.ValueType) -> str:
    known = v1.AdapterFormat.DESCRIPTOR.values_by_number
    return known[number].name.removeprefix("ADAPTER_FORMAT_") if number in known else str(number)
