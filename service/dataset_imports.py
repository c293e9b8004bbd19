"""Datasets that the service reads from a store by itself: planned as a whole, then copied file by file.

Everything is decided before a dataset is opened, by the same reading that callers have on their own disks. What broke off goes
on with the same request: files that are in the dataset already are not fetched again.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from loramill import v1
from loramill.errors import InputError
from loramill.inputs.describe import layout_of, record_of
from loramill.inputs.layouts import read_input
from loramill.inputs.names import quoted
from loramill.inputs.result import Input, InputFile
from loramill.inputs.source import Source
from loramill.upload import on_disk
from service.caller import Caller
from service.dataset_checks import violations_of_opening
from service.dataset_sources import opened, violation_of_uri
from service.datasets import Datasets, dataset_id
from service.errors import InvalidRequest, Violation
from store.digests import sha256_of

_AT_ONCE = 4


@dataclass(frozen=True)
class DatasetImports:
    """Makes datasets of what lies below the operator's roots. Synchronous: called in threads."""

    datasets: Datasets
    roots: Sequence[str]
    """`s3://bucket/folder/`; `{tenant}` in it stands for the caller's tenant."""
    staging: Path
    size_limit: int
    """Bytes of one file."""

    def create(self, caller: Caller, request: v1.CreateDatasetRequest) -> v1.Dataset:
        """The finalized dataset; with `validate_only` what it would be. Raises InvalidRequest with everything that is wrong, and
        as `Datasets.create`."""
        self._check(caller, request)
        done = self.datasets.opened_by(caller, request.request_id)
        if done is not None and done.state == v1.DATASET_STATE_FINALIZED and done.input.source == request.source_uri:
            return done
        try:
            with opened(request.source_uri, self.staging) as (source, configuration):
                layout = layout_of(request.layout)
                found = read_input(source, configuration, layout=layout, caption_column=request.caption_column)
                self._check_sizes(found)
                described = v1.Dataset(
                    display_name=request.dataset.display_name,
                    input=record_of(found, request.source_uri),
                    suggested=found.suggested,
                )
                if request.validate_only:
                    return described
                opening = v1.CreateDatasetRequest(dataset=described, request_id=request.request_id)
                return self._filled(caller, self.datasets.create(caller, opening), source, found)
        except InputError as error:
            raise InvalidRequest(_violations(error)) from error

    def _check(self, caller: Caller, request: v1.CreateDatasetRequest) -> None:
        found = violations_of_opening(request)
        if (violation := violation_of_uri(request.source_uri, self.roots, caller)) is not None:
            found.append(violation)
        if found:
            raise InvalidRequest(found)

    def _check_sizes(self, found: Input) -> None:
        large = [
            f"{quoted(file.label)} has {file.size} bytes, more than the {self.size_limit} that are allowed; make it smaller."
            for file in found.files
            if file.size > self.size_limit
        ]
        if large:
            raise InputError("The source cannot become a dataset:", large)

    def _filled(self, caller: Caller, dataset: v1.Dataset, source: Source, found: Input) -> v1.Dataset:
        opened_id = dataset_id(dataset.name)
        there = {file.path: file.size_bytes for file in self.datasets.files(caller.tenant, opened_id)}
        missing = [file for file in found.files if there.get(file.label) != file.size]

        def add(file: InputFile) -> None:
            with on_disk(source, file) as local:
                content = v1.DatasetFile(
                    path=file.label, sha256=sha256_of(local.path), size_bytes=local.path.stat().st_size
                )
                self.datasets.add(caller, opened_id, content, lambda key: self.datasets.store.put_new(key, local.path))

        pool = ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="dataset-import")
        try:
            for _ in pool.map(add, missing):
                pass
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return self.datasets.finalize(caller, opened_id)


def _violations(error: InputError) -> list[Violation]:
    problems = error.problems or (str(error),)
    return [Violation("source_uri", problem, "UNSUITABLE_INPUT") for problem in problems]
