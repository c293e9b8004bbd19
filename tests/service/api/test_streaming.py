"""What uploads may hold while they are under way, without a server."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from loramill import v1
from service.errors import Interrupted, NotAvailable
from service.streaming import Announced, Staging, stream

CONTENT = b"a picture"
ANNOUNCED = Announced("header.file", "a.png", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


async def test_an_upload_for_which_nothing_more_comes_is_given_up(tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[v1.UploadFileRequest]:
        yield v1.UploadFileRequest(data=CONTENT[:4])
        await asyncio.Event().wait()

    async with Staging(tmp_path).file("t") as staged:
        with pytest.raises(Interrupted, match=r"a\.png.*send the file again") as raised:
            await stream(pieces(), ANNOUNCED, staged, patience=0.01)
    assert raised.value.reason == "UPLOAD_STALLED"
    assert list(tmp_path.iterdir()) == []


async def test_an_upload_waits_for_its_turn_among_those_of_its_tenant(tmp_path: Path) -> None:
    staging, ends = Staging(tmp_path, at_once=1), asyncio.Event()

    async def upload(tenant: str) -> int:
        async with staging.file(tenant):
            held = len(list(tmp_path.iterdir()))
            await ends.wait()
        return held

    first = asyncio.create_task(upload("one"))
    await asyncio.sleep(0)
    second, other = asyncio.create_task(upload("one")), asyncio.create_task(upload("another"))
    await asyncio.sleep(0)
    ends.set()
    assert await asyncio.gather(first, second, other) == [1, 1, 2]


async def test_an_upload_that_waits_too_long_may_be_sent_again(tmp_path: Path) -> None:
    staging = Staging(tmp_path, at_once=1, patience=0.01)
    async with staging.file("one"):
        with pytest.raises(NotAvailable, match=r"^1 uploads .* send this one again") as raised:
            async with staging.file("one"):
                pass
    assert raised.value.reason == "TOO_MANY_UPLOADS"
    async with staging.file("one") as staged:
        assert Path(str(staged.name)).exists()
