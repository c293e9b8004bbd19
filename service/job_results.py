"""The files that jobs of other kinds than training have made. Synchronous: called in threads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loramill import v1
from service import keys
from service.errors import ResourceNotFound
from service.job import results_of
from service.jobs import Jobs, job_id
from service.stored_bytes import pieces
from store.object_store import ObjectStore


@dataclass(frozen=True)
class StoredResult:
    """A file, and where it lies."""

    file: v1.ResultFile
    key: str


@dataclass(frozen=True)
class JobResults:
    """Finds them in the record of jobs."""

    store: ObjectStore
    jobs: Jobs

    def file(self, tenant: str, request: v1.DownloadResultRequest) -> StoredResult:
        """Raises InvalidRequest, and ResourceNotFound where there is no such job, or it has no such file."""
        job = job_id(request.name)
        results = results_of(self.jobs.facts(tenant, job))
        root = keys.TenantKeys(tenant).job(job).run(results.launch).root
        for file in results.files:
            if file.path == request.path:
                return StoredResult(file, root + file.path)
        there = ", ".join(file.path for file in results.files)
        raise ResourceNotFound(
            f"{keys.job_name(job)} has no file {request.path[:200]!r}; "
            + (f"it has {there}." if there else "a job that does not train has files once it has succeeded.")
        )

    def pieces(self, stored: StoredResult) -> Iterator[bytes]:
        """The bytes of a file, at most 1 MiB each. Raises ResourceNotFound, and Damaged if it is shorter than it was."""
        return pieces(self.store, stored.key, stored.file.size_bytes, stored.file.path)
