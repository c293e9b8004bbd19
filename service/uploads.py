"""One file on its way into a dataset: streamed to a temporary file, checked, then added. Hostile until proven otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from loramill import v1
from loramill.inputs.names import problem_of_path
from service.caller import Caller
from service.datasets import Datasets, dataset_id
from service.errors import InvalidRequest, Violation, invalid
from service.streaming import Announced, Staging, stream, violations_of_content


def violations_of_file(file: v1.DatasetFile, announced: Announced, size_limit: int) -> list[Violation]:
    """Everything that is wrong with a file's header. Pure."""
    path, found = announced.path, []
    if problem := problem_of_path(file.path):
        text = f"{path}.path is {file.path[:80]!r}, which {problem}; write it like 10_cat/001.png."
        found.append(Violation(f"{path}.path", text, "INVALID_PATH"))
    return found + violations_of_content(announced, 0, size_limit)


@dataclass(frozen=True)
class Uploads:
    """Takes uploads, each through a temporary file of its own."""

    datasets: Datasets
    staging: Staging
    size_limit: int
    """Bytes of one file."""

    async def take(self, caller: Caller, requests: AsyncIterator[v1.UploadFileRequest]) -> v1.DatasetFile:
        """The file as it is stored. Nothing is kept of one whose size or digest does not match."""
        header = await _header_of(requests)
        dataset = dataset_id(header.dataset, "header.dataset") if header.dataset else ""
        announced = Announced("header.file", header.file.path, header.file.size_bytes, header.file.sha256)
        found = violations_of_file(header.file, announced, self.size_limit)
        if not dataset:
            found.insert(0, Violation("header.dataset", "header.dataset is required; give datasets/<id>.", "REQUIRED"))
        if found:
            raise InvalidRequest(found)
        await asyncio.to_thread(self.datasets.check_takes, caller.tenant, dataset, header.file)
        async with self.staging.file(caller.tenant) as staged:
            await stream(requests, announced, staged)

            def put(key: str) -> None:
                self.datasets.store.put_new(key, Path(staged.name))

            await asyncio.to_thread(self.datasets.add, caller, dataset, header.file, put)
        return header.file


async def _header_of(requests: AsyncIterator[v1.UploadFileRequest]) -> v1.UploadFileHeader:
    async for request in requests:
        if request.WhichOneof("payload") == "header":
            return request.header
        break
    raise invalid("header", "The first message of an upload must carry header; send it before any data.", "REQUIRED")
