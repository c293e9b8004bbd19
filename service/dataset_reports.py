"""The data reports that jobs made of their datasets, by themselves or before they trained. Synchronous: called in threads."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from loramill import v1
from service import indexes, keys
from service.datasets import Datasets, dataset_id
from service.errors import ResourceNotFound, invalid
from service.stored_bytes import pieces
from service.times import to_timestamp
from store.object_store import NotFound, ObjectInfo, ObjectStore
from store.records import read_record

MOST_JOBS = 200
"""The newest jobs of a tenant, each of which costs a request to look at."""
_FILES = {
    v1.DATASET_REPORT_FORMAT_UNSPECIFIED: "report.txt",
    v1.DATASET_REPORT_FORMAT_TEXT: "report.txt",
    v1.DATASET_REPORT_FORMAT_JSON: "report.json",
    v1.DATASET_REPORT_FORMAT_HTML: "report.html",
}


@dataclass(frozen=True)
class StoredReport:
    """A report, and where it lies."""

    report: v1.DatasetReport
    key: str


@dataclass(frozen=True)
class DatasetReports:
    """Finds them in the record of jobs."""

    store: ObjectStore
    datasets: Datasets

    def newest(self, tenant: str, request: v1.GetDatasetReportRequest) -> StoredReport:
        """Raises InvalidRequest, and ResourceNotFound where there is no such dataset or no report of it."""
        dataset = dataset_id(request.name)
        if request.format not in _FILES:
            known = ", ".join(name.removeprefix("DATASET_REPORT_FORMAT_") for name in v1.DatasetReportFormat.keys()[1:])
            raise invalid(
                "format",
                f"format is {request.format}, which is no form of a report; choose of {known}.",
                "UNKNOWN_VALUE",
            )
        self.datasets.get(tenant, dataset)
        for job in itertools.islice(self._jobs(tenant), MOST_JOBS):
            job_keys = keys.TenantKeys(tenant).job(job)
            record = read_record(self.store, job_keys.record, v1.CreateRecord)
            if record is not None and record.spec.dataset.dataset == keys.dataset_name(dataset):
                found = self._of_job(job, job_keys, _FILES[request.format])
                if found is not None:
                    return found
        raise ResourceNotFound(
            f"No job has made a report of {keys.dataset_name(dataset)} yet; have one made (loramill dataset report --base), or "
            "train on it: each job makes one once it has encoded its pictures."
        )

    def pieces(self, stored: StoredReport) -> Iterator[bytes]:
        """The bytes of a report, at most 1 MiB each. Raises ResourceNotFound if it is deleted meanwhile."""
        return pieces(self.store, stored.key, stored.report.size_bytes, f"The report of {stored.report.training_job}")

    def _jobs(self, tenant: str) -> Iterator[str]:
        """Ids, newest first, each once."""
        ended = (job for job, _ in indexes.ended_jobs(self.store, tenant))
        return (job for job, _ in itertools.groupby(heapq.merge(ended, indexes.active_jobs(self.store, tenant))))

    def _of_job(self, job: str, job_keys: keys.JobKeys, name: str) -> StoredReport | None:
        """Of its newest launch that made one."""
        launches = [keys.number_of(entry.key) for entry in self.store.list(job_keys.launches_prefix)]
        for launch in sorted(launches, reverse=True):
            key = job_keys.run(launch).data_report(name)
            info = self._info(key)
            if info is not None:
                report = v1.DatasetReport(
                    training_job=keys.job_name(job),
                    launch=launch,
                    size_bytes=info.size,
                    create_time=to_timestamp(info.modified),
                )
                return StoredReport(report, key)
        return None

    def _info(self, key: str) -> ObjectInfo | None:
        try:
            return self.store.info(key)
        except NotFound:
            return None
