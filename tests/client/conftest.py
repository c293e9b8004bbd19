from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import stamina.instrumentation

from loramill.channel import ADDRESS_VARIABLE
from loramill.cli import main
from loramill.client import Client
from tests.client.fake_service import FakeService


@pytest.fixture
def service() -> Iterator[FakeService]:
    service = FakeService()
    yield service
    service.stop()


@pytest.fixture
def client(service: FakeService) -> Iterator[Client]:
    with Client(service.address, sleep=lambda _: None) as client:
        yield client


@dataclass(frozen=True)
class Result:
    """What a command line did."""

    code: int
    out: str
    err: str


Loramill = Callable[..., Result]


@pytest.fixture
def loramill(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Loramill]:
    """Runs the command in this process against the service, as it is installed."""

    def run(*words: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["loramill", *words])
        with pytest.raises(SystemExit) as ended:
            main.run()
        captured = capsys.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    monkeypatch.setenv(ADDRESS_VARIABLE, service.address)
    yield run
    stamina.instrumentation.set_on_retry_hooks(
        None
    )  # the command silences them for its process, which is the tests' here


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with everything that one may find in a folder of pictures. Nobody decodes them here."""
    folder = tmp_path / "cats"
    (folder / "10_cat").mkdir(parents=True)
    (folder / ".thumbnails").mkdir()
    for name in ("a.png", "b.JPG", "10_cat/c.webp"):
        (folder / name).write_bytes(name.encode() * 100_000)
    (folder / "a.txt").write_text("a cat")
    (folder / "10_cat/c.caption").write_text("another cat")
    (folder / "notes.json").write_text("{}\n")
    (folder / "notes.docx").write_bytes(b"x")
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / ".thumbnails/a.png").write_bytes(b"x")
    (folder / "link.png").symlink_to(folder / "a.png")
    return folder
