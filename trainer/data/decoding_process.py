"""The trainer's side of one decoding child: starts it, asks it, waits no longer than allowed, and tells why it died."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from trainer.data.decoding_protocol import LARGEST_HEADER, LENGTH, Limits, frame
from trainer.errors import TrainerError

_ROOT = Path(__file__).parents[2]
# What an interpreter may need to start. Nothing else of the environment reaches the child, credentials least of all.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "LANG", "LC_ALL")
_START_SECONDS = 120.0


class Died(Exception):
    """The child gave no usable answer. The message goes on after the picture's name."""


class Killed(Died):
    """The child was killed by a SIGKILL that was not ours."""


class DecodingProcess:
    """One child. After Died it must be closed; another can be started."""

    def __init__(self, limits: Limits) -> None:
        """Starts it. Raises TrainerError if it does not come up, which no picture can be the cause of."""
        self._limits = limits
        command = [sys.executable, "-m", "trainer.data.decoding_child", str(limits.memory_mib), str(limits.cpu_seconds)]
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=_ROOT, env=environment
        )
        pipes = self._process.stdin, self._process.stdout, self._process.stderr
        self._requests, self._answers, self._complaints = (cast(IO[bytes], pipe) for pipe in pipes)
        os.set_blocking(self._complaints.fileno(), False)
        try:
            self._answer(0, time.monotonic() + _START_SECONDS)
        except Died as death:
            self.close()
            raise TrainerError(f"The child process that decodes pictures does not start: it {death}.") from death

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], payload_bytes: int) -> tuple[dict[str, Any], bytearray]:
        """Sends a request; returns the answer and its raw bytes, `payload_bytes` of them or none. Raises Died."""
        deadline = time.monotonic() + self._limits.wall_seconds
        try:
            self._requests.write(frame(request))
            self._requests.flush()
        except BrokenPipeError:
            raise self._death() from None
        return self._answer(payload_bytes, deadline)

    def close(self) -> None:
        """Ends the child, whatever it does at the moment."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers, self._complaints):
            with suppress(OSError):  # a request that the dead child never read is flushed in vain
                pipe.close()

    def _answer(self, payload_bytes: int, deadline: float) -> tuple[dict[str, Any], bytearray]:
        (length,) = LENGTH.unpack(self._read(LENGTH.size, deadline))
        if length > LARGEST_HEADER:
            raise Died("made its decoder answer nonsense")
        try:
            header = json.loads(self._read(length, deadline))
            size = header.pop("payload_bytes")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            raise Died("made its decoder answer nonsense") from None
        if size not in (0, payload_bytes):
            raise Died("made its decoder answer nonsense")
        return header, self._read(size, deadline)

    def _read(self, count: int, deadline: float) -> bytearray:
        """Exactly `count` bytes of the child's answers."""
        received = bytearray()
        descriptor = self._answers.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while len(received) < count:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise Died(f"takes longer than {self._limits.wall_seconds:g} seconds to decode")
            part = os.read(descriptor, min(count - len(received), 1 << 20))
            if not part:
                raise self._death()
            received += part
        return received

    def _death(self) -> Died:
        """Why the child, which has closed its end, is gone."""
        try:
            status = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return Died("made its decoder hang")
        if status == -signal.SIGKILL:
            return Killed("got its decoder killed, probably for want of memory on this machine")
        if status == -signal.SIGXCPU:
            return Died(f"takes more than {self._limits.cpu_seconds} seconds of processor time to decode")
        if status < 0:
            return Died(f"crashed its decoder ({signal.Signals(-status).name})")
        complaint = (self._complaints.read() or b"").decode(errors="replace").strip().splitlines()
        return Died(f"crashed its decoder ({complaint[-1][:200] if complaint else f'exit code {status}'})")
