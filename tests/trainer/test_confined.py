"""In a container only one folder can be written, and that may fill up."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from loramill import v1
from store.files import FileStore
from tests.trainer.jobs import SETTINGS, Jobs
from trainer import outputs

QUICK: dict[str, object] = {"optimization": {"steps": 2}, "previews": {"inference_steps": 1}}


def test_it_needs_no_home_and_leaves_nothing_behind(jobs: Jobs, tmp_path: Path) -> None:
    job = jobs.new("confined", QUICK)
    environment = {"PATH": os.environ["PATH"], "HOME": "/dev/null/nowhere", "TMPDIR": str(tmp_path), **SETTINGS}
    ended = subprocess.run(
        [sys.executable, "-m", "trainer", job.uri],
        cwd=Path(__file__).parents[2],
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def while_fetching(patch: pytest.MonkeyPatch, full: Callable[..., None]) -> None:
    patch.setattr(FileStore, "fetch", full)


def while_saving(patch: pytest.MonkeyPatch, full: Callable[..., None]) -> None:
    patch.setattr(outputs, "write", full)


@pytest.mark.parametrize("fill", [while_fetching, while_saving])
def test_a_full_disk_is_told_with_its_remedy(
    fill: Callable[[pytest.MonkeyPatch, Callable[..., None]], None],
    jobs: Jobs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    fill(monkeypatch, full)
    monkeypatch.setenv("LORAMILL_TRAINER_WORK_DIR", str(tmp_path / "work"))
    job = jobs.new(f"disk full {fill.__name__}", QUICK)
    assert job.run() == v1.EXIT_CODE_STORAGE
    assert f"The disk of {tmp_path / 'work'}" in job.end.message
    assert "ephemeral storage of the compute class" in job.end.message
    assert "Traceback" not in job.log()
