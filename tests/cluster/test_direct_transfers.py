"""On the installed service, large files never pass through it: neither a dataset's on their way in nor an adapter's out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from loramill.client import Client
from tests.service.api.adapter_files import LORA, safetensors

LARGE = 20 << 20


def forbidden(*_: Any, **__: Any) -> Any:
    raise AssertionError("bytes were about to pass through the service")


def test_a_large_picture_goes_straight_to_the_store(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "large.png"
    picture.write_bytes(os.urandom(LARGE))
    monkeypatch.setattr(client._calls, "upload", forbidden)
    dataset = client.upload_dataset(tmp_path)
    assert (dataset.file_count, dataset.size_bytes) == (1, LARGE)
    client.delete_dataset(dataset.name)


def test_an_adapter_comes_straight_from_the_store(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(safetensors(LORA))
    adapter = client.upload_adapter(path)
    monkeypatch.setattr(client._calls, "stream", forbidden)
    assert client.download_adapter(adapter.name, tmp_path / "fetched").read_bytes() == path.read_bytes()
    client.delete_adapter(adapter.name)
