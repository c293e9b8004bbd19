"""The bytes of one upload on their way into a temporary file: never more than announced, checked at the end."""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from loramill import v1
from service.errors import Interrupted, NotAvailable, Violation, invalid

_LARGEST_PIECE = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_AT_ONCE = 64
"""Uploads of one tenant, each of which holds a file open."""
_PATIENCE_S = 60.0
"""For the next piece, and for an upload's turn."""


Piece = v1.UploadFileRequest | v1.UploadAdapterRequest
"""A message of an upload's stream: first a header, then data."""


@dataclass(frozen=True)
class Announced:
    """What a header says of the bytes that follow."""

    path: str
    """Where the header stands in the request, such as `header.file`."""
    label: str
    """The file's name, for sentences."""
    size_bytes: int
    sha256: str


def violations_of_content(announced: Announced, smallest: int, largest: int) -> list[Violation]:
    """What is wrong with a header's digest and size; `smallest` and `largest` are in bytes. Pure."""
    path, found = announced.path, []
    if not _SHA256.fullmatch(announced.sha256):
        text = (
            f"{path}.sha256 is {announced.sha256[:80]!r}, but must be the content's SHA-256 in 64 lower-case hexadecimal "
            "digits."
        )
        found.append(Violation(f"{path}.sha256", text, "INVALID_DIGEST"))
    if not smallest <= announced.size_bytes <= largest:
        text = f"{path}.size_bytes is {announced.size_bytes}, but must be {smallest} to {largest}; send a file of such a size."
        found.append(Violation(f"{path}.size_bytes", text))
    return found


class Staging:
    """The temporary files of uploads under way: so many of each tenant, the others wait for their turn."""

    def __init__(self, folder: Path, at_once: int = _AT_ONCE, patience: float = _PATIENCE_S) -> None:
        """`at_once` is for each tenant; `patience` is in seconds."""
        self._folder = folder
        self._at_once = at_once
        self._patience = patience
        self._turns: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(at_once))

    @asynccontextmanager
    async def file(self, tenant: str) -> AsyncIterator[IO[bytes]]:
        """An empty one, gone at the end. Raises NotAvailable where the tenant's other uploads take too long."""
        turns = self._turns[tenant]
        try:
            async with asyncio.timeout(self._patience):
                await turns.acquire()
        except TimeoutError:
            most = f"{self._at_once} uploads of this tenant are under way, and no more are taken at once"
            text = f"{most}; end some of them, or send this one again in a while."
            raise NotAvailable(text, "TOO_MANY_UPLOADS") from None
        try:
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix="upload-") as staged:
                yield staged
        finally:
            turns.release()


async def stream(
    requests: AsyncIterator[Piece], announced: Announced, staged: IO[bytes], patience: float = _PATIENCE_S
) -> None:
    """Writes the data, never more than was announced; `patience` is for each piece, in seconds.

    Raises InvalidRequest where size or digest does not match, and Interrupted where nothing more comes.
    """
    label, path = announced.label, announced.path
    digest, size = hashlib.sha256(), 0
    while (request := await _next(requests, label, patience)) is not None:
        if request.WhichOneof("payload") != "data":
            raise invalid("header", f"{label!r}: only the first message carries header, all others data.", "CONFLICT")
        if len(request.data) > _LARGEST_PIECE:
            text = f"data of {label!r} has {len(request.data)} bytes in one message; send at most {_LARGEST_PIECE}."
            raise invalid("data", text)
        size += len(request.data)
        if size > announced.size_bytes:
            break
        digest.update(request.data)
        await asyncio.to_thread(staged.write, request.data)
    if size != announced.size_bytes:
        came = f"more than {announced.size_bytes}" if size > announced.size_bytes else str(size)
        text = f"{path}.size_bytes of {label!r} is {announced.size_bytes}, but {came} bytes came; send the file again."
        raise invalid(f"{path}.size_bytes", text, "SIZE_MISMATCH")
    if digest.hexdigest() != announced.sha256:
        text = f"{path}.sha256 of {label!r} is {announced.sha256}, but what came has {digest.hexdigest()}; send the file again."
        raise invalid(f"{path}.sha256", text, "DIGEST_MISMATCH")
    await asyncio.to_thread(staged.flush)


async def _next(requests: AsyncIterator[Piece], label: str, patience: float) -> Piece | None:
    try:
        async with asyncio.timeout(patience):
            return await anext(requests, None)
    except TimeoutError:
        text = f"Nothing more of {label!r} came for {patience:.0f} s, so that its upload was given up; send the file again."
        raise Interrupted(text, "UPLOAD_STALLED") from None
