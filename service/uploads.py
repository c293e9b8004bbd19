"""One file on its way into a dataset: streamed to a temporary file, checked, then added. Hostile until proven otherwise."""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from loramill import v1
from service.caller import Caller
from service.datasets import Datasets, dataset_id
from service.errors import InvalidRequest, Violation, invalid

_LONGEST_PATH = 1000
_LARGEST_PIECE = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def violations_of_file(file: v1.DatasetFile, size_limit: int, path: str = "header.file") -> list[Violation]:
    """Everything that is wrong with a file's header. Pure."""
    found = []
    if problem := _problem_of_path(file.path):
        text = f"{path}.path is {file.path[:80]!r}, which {problem}; write it like 10_cat/001.png."
        found.append(Violation(f"{path}.path", text, "INVALID_PATH"))
    if not _SHA256.fullmatch(file.sha256):
        text = f"{path}.sha256 is {file.sha256[:80]!r}, but must be the content's SHA-256 in 64 lower-case hexadecimal digits."
        found.append(Violation(f"{path}.sha256", text, "INVALID_DIGEST"))
    if not 0 <= file.size_bytes <= size_limit:
        text = f"{path}.size_bytes is {file.size_bytes}, but must be 0 to {size_limit}; make the file smaller."
        found.append(Violation(f"{path}.size_bytes", text))
    return found


def _problem_of_path(path: str) -> str | None:
    if not path:
        return "is empty"
    if len(path.encode(errors="replace")) > _LONGEST_PATH:
        return f"is longer than {_LONGEST_PATH} bytes"
    if _CONTROL.search(path):
        return "has control characters"
    if "\\" in path:
        return "has a backslash, but parts are separated by '/'"
    if path.startswith("/"):
        return "begins with '/', but must be relative"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return "has an empty part, '.' or '..'"
    return None


@dataclass(frozen=True)
class Uploads:
    """Takes uploads, each through a temporary file of its own in `staging`."""

    datasets: Datasets
    staging: Path
    size_limit: int
    """Bytes of one file."""

    async def take(self, caller: Caller, requests: AsyncIterator[v1.UploadFileRequest]) -> v1.DatasetFile:
        """The file as it is stored. Nothing is kept of one whose size or digest does not match."""
        header = await _header_of(requests)
        dataset = dataset_id(header.dataset, "header.dataset") if header.dataset else ""
        found = violations_of_file(header.file, self.size_limit)
        if not dataset:
            found.insert(0, Violation("header.dataset", "header.dataset is required; give datasets/<id>.", "REQUIRED"))
        if found:
            raise InvalidRequest(found)
        await asyncio.to_thread(self.datasets.check_takes, caller.tenant, dataset, header.file)
        with tempfile.NamedTemporaryFile(dir=self.staging, prefix="upload-") as staged:
            await _stream(requests, header.file, staged)
            await asyncio.to_thread(self.datasets.add, caller, dataset, header.file, Path(staged.name))
        return header.file


async def _header_of(requests: AsyncIterator[v1.UploadFileRequest]) -> v1.UploadFileHeader:
    async for request in requests:
        if request.WhichOneof("payload") == "header":
            return request.header
        break
    raise invalid("header", "The first message of an upload must carry header; send it before any data.", "REQUIRED")


async def _stream(requests: AsyncIterator[v1.UploadFileRequest], file: v1.DatasetFile, staged: IO[bytes]) -> None:
    """Writes the data, never more than was announced. Raises InvalidRequest where size or digest does not match."""
    digest, size = hashlib.sha256(), 0
    async for request in requests:
        if request.WhichOneof("payload") != "data":
            raise invalid(
                "header", f"{file.path!r}: only the first message carries header, all others data.", "CONFLICT"
            )
        if len(request.data) > _LARGEST_PIECE:
            text = f"data of {file.path!r} has {len(request.data)} bytes in one message; send at most {_LARGEST_PIECE}."
            raise invalid("data", text)
        size += len(request.data)
        if size > file.size_bytes:
            break
        digest.update(request.data)
        await asyncio.to_thread(staged.write, request.data)
    if size != file.size_bytes:
        came = f"more than {file.size_bytes}" if size > file.size_bytes else str(size)
        text = (
            f"header.file.size_bytes of {file.path!r} is {file.size_bytes}, but {came} bytes came; send the file again."
        )
        raise invalid("header.file.size_bytes", text, "SIZE_MISMATCH")
    if digest.hexdigest() != file.sha256:
        text = (
            f"header.file.sha256 of {file.path!r} is {file.sha256}, but what came has {digest.hexdigest()}; "
            "send the file again."
        )
        raise invalid("header.file.sha256", text, "DIGEST_MISMATCH")
    await asyncio.to_thread(staged.flush)
