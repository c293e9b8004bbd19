"""A service in local mode for one demo, as a child process, and the command line client that talks to it."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.console import Console

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS, STOP_SECONDS = 60, 45


class DemoError(Exception):
    """A step of the demo failed; the message says which, and where to look."""


class LocalService:
    """The service on a port and a data folder of its own. What is run is printed first, so that a reader can do the same."""

    def __init__(self, data: Path, log: Path, console: Console, *options: str) -> None:
        self.address = f"127.0.0.1:{_free_port()}"
        self.log = log
        self._console = console
        self._job: str | None = None
        ports = ["--port", self.address.rpartition(":")[2], "--metrics-port", str(_free_port())]
        command = [sys.executable, "-m", "service", "--local", *ports, "--data", short(data), *options]
        # A second thread makes a trainer of so small a model no faster. One leaves the other core free, and makes the same
        # adapter whatever the number of cores.
        more = {"LORAMILL_TRAINER_THREADS": "1"}
        said = shlex.join([*(f"{name}={value}" for name, value in more.items()), "python", *command[1:]])
        self._say(f"$ {said} > {short(log)} &")
        with log.open("wb") as file:
            # In a session of its own, so that Ctrl-C reaches the demo alone, which then ends things in order.
            self._process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **more}, stdout=file, stderr=file, start_new_session=True
            )

    def wait_until_serving(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        with grpc.insecure_channel(self.address) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            while time.monotonic() < deadline and self._process.poll() is None:
                with contextlib.suppress(grpc.RpcError):
                    answer = health.Check(health_pb2.HealthCheckRequest(), timeout=1, wait_for_ready=True)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        self._say(f"$ export LORAMILL_SERVER={self.address}")
                        return
        raise DemoError(f"The service did not start; its log is {short(self.log)}.")

    def loramill(self, *arguments: str, quiet: bool = False, timeout: float | None = None) -> str:
        """Runs the command line client, and returns its result; what it tells people goes to the terminal at once."""
        if not quiet:
            self._say(f"$ loramill {shlex.join(arguments)}")
        done = subprocess.run(
            [Path(sys.executable).with_name("loramill"), *arguments],
            cwd=ROOT,
            env={**os.environ, "LORAMILL_SERVER": self.address},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            raise DemoError(f"`loramill {shlex.join(arguments)}` failed; the service's log is {short(self.log)}.")
        return done.stdout.strip()

    def train(self, job_file: Path, dataset: str) -> str:
        """Submits a job, follows it live until it has ended well, and returns its name."""
        options = ["--set", f"dataset.dataset={dataset}", "-o", "name"]
        self._job = self.loramill("job", "submit", short(job_file), *options)
        self.loramill("job", "watch", self._job, "-o", "name")
        job, self._job = self._job, None
        return job

    def stop(self) -> None:
        """Ends a job that still runs, then the service. Trainers outlive their service, so the job goes first."""
        if self._job is not None and self._process.poll() is None:
            self._console.print("Cancelling the job …")
            with contextlib.suppress(DemoError, subprocess.TimeoutExpired):
                self.loramill("job", "cancel", self._job, quiet=True, timeout=STOP_SECONDS)
                self.loramill("job", "watch", self._job, quiet=True, timeout=STOP_SECONDS)
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _say(self, line: str) -> None:
        self._console.print(line, style="dim", markup=False, soft_wrap=True)


@contextlib.contextmanager
def local_service(data: Path, log: Path, console: Console, *options: str) -> Iterator[LocalService]:
    """A service that answers; it and what it started end with the block, however that ends."""
    service = LocalService(data, log, console, *options)
    try:
        service.wait_until_serving()
        yield service
    finally:
        asked_again = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must leave no process behind
        service.stop()
        signal.signal(signal.SIGINT, asked_again)


def short(path: Path) -> str:
    """A path as people in the repository's root write it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
