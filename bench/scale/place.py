"""Where both forms of the service are measured: a real S3 server on loopback, and processes whose memory and time are read."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from deploy.cluster.go_builds import VERSITYGW, binary

BUCKET = "loramill"
URI = f"s3://{BUCKET}/"
_KEYS = ("benchbench", "benchbenchbench")
_TICKS = os.sysconf("SC_CLK_TCK")
_START_S = 60.0
_REST_S, _LITTLE = 30.0, 0.1
"""The longest wait for a process to come to rest; of a core, what it may do then."""


@dataclass(frozen=True)
class Usage:
    """Of a process until now."""

    cpu_s: float
    memory: int
    """Bytes, resident."""


def usage_of(pid: int) -> Usage:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, pages * os.sysconf("SC_PAGE_SIZE"))


def at_rest(pid: int) -> Usage:
    """Once the process does little, as when it has looked at what there is; after half a minute even if it does not."""
    end = time.monotonic() + _REST_S
    while True:
        before = usage_of(pid)
        time.sleep(1.0)
        now = usage_of(pid)
        if now.cpu_s - before.cpu_s < _LITTLE or time.monotonic() >= end:
            return now


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def s3(folder: Path, beginning: Path | None = None) -> Iterator[None]:
    """versitygw over a new folder, and AWS's variables for it in our environment for as long as it runs. The bucket is empty,
    or a copy of the one in the folder `beginning`.
    """
    port = free_port()
    if beginning is not None:
        # With extended attributes, in which versitygw keeps what S3 tells of an object.
        shutil.copytree(beginning, folder)
    for name in ("objects", "users", "versions", f"objects/{BUCKET}"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    access = ["--access", _KEYS[0], "--secret", _KEYS[1], "--iam-dir", str(folder / "users")]
    backend = ["posix", "--versioning-dir", str(folder / "versions"), str(folder / "objects")]
    command = [str(binary(VERSITYGW)), "--quiet", "--port", f"127.0.0.1:{port}", *access, *backend]
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": _KEYS[0],
        "AWS_SECRET_ACCESS_KEY": _KEYS[1],
    }
    with _process(command, port), mock.patch.dict(os.environ, variables):
        yield


@contextmanager
def server(module: str, *arguments: str) -> Iterator[tuple[int, int]]:
    """`python -m MODULE PORT …`; its port and its pid, once it answers."""
    port = free_port()
    with _process([sys.executable, "-m", module, str(port), *arguments], port) as pid:
        yield port, pid


@contextmanager
def _process(command: list[str], port: int) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    log = process.stderr
    drained = subprocess.Popen(["tail", "-c", "4000"], stdin=log, stdout=subprocess.PIPE)
    try:
        end = time.monotonic() + _START_S
        while process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        else:
            process.kill()
            raise SystemExit(f"{command[0]} does not answer:\n{drained.communicate()[0].decode()}")
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
        drained.communicate()


def emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
