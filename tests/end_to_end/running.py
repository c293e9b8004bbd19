"""A real service in local mode, as a process of its own, with the real trainer behind it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from loramill import v1
from loramill.client import Client

ROOT = Path(__file__).resolve().parents[2]


def wait_until(what: str, met: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for: {what}"
        time.sleep(0.05)


class RunningService:
    """`python -m service --local` on a free port and a data folder."""

    def __init__(
        self, data: Path, import_root: Path, shapes: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._data, self._import_root, self._shapes = data, import_root, shapes
        self._environment = dict(environment or {})
        self.client = self._start()

    def _start(self) -> Client:
        self._log = self._data.with_suffix(".log")
        start = self._log.stat().st_size if self._log.exists() else 0
        folders = [
            "--data",
            str(self._data),
            "--import-root",
            str(self._import_root),
            "--builtin-shapes",
            str(self._shapes),
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "service",
                    "--local",
                    "--port",
                    "0",
                    "--metrics-port",
                    "0",
                    "--log-format",
                    "json",
                    *folders,
                ],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "LORAMILL_TRAINER_REPORT_SECONDS": "0.2",
                    "OMP_NUM_THREADS": "1",
                    **self._environment,
                },
            )
        address: list[str] = []

        def serving() -> bool:
            assert self._process.poll() is None, self._log.read_text()
            address[:] = re.findall(r"serves on (127\.0\.0\.1:\d+)", self._log.read_text()[start:])
            return bool(address)

        wait_until("the service to start", serving)
        return Client(address[0])

    def stop(self) -> None:
        self.client.close()
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(30) == 0

    def restart(self) -> None:
        self.stop()
        self.client = self._start()

    def kill_trainer(self, job: str, launch: int) -> None:
        """kill -9, as the kernel would for want of memory."""
        note = self._data / "executor" / "local" / job / str(launch) / "trainer.json"
        os.kill(json.loads(note.read_text())["pid"], signal.SIGKILL)

    def checkpoints(self, job: str, launch: int) -> int:
        runs = self._data / "store" / "local" / "jobs" / job / "runs" / str(launch)
        return len(list(runs.glob("checkpoints/*/manifest.json")))

    def finished(self, job: str) -> v1.TrainingJob:
        for seen in self.client.watch_job(job):
            last = seen
        return last
