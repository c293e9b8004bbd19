"""`python -m trainer.data.decoding_child MEMORY_MIB CPU_SECONDS`: decodes untrusted pictures on request, under limits.

Requests come through standard input, answers go through standard output, as frames of `decoding_protocol`. The process
needs no rights but to read pictures, and ends when its input does. Whatever is not foreseen kills it; its parent then
names the picture.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

from trainer.data.decoding_protocol import LENGTH, frame
from trainer.data.pixels import Broken, masked, measured, rendered


def main() -> None:
    """Serves requests until the input ends."""
    memory_mib, cpu_seconds = int(sys.argv[1]), int(sys.argv[2])
    # Signals to the trainer's process group are the trainer's business; a picture must not be blamed for them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not end up between the frames
    _limit(memory_mib, cpu_seconds)
    _send(answers, {"ready": True})
    while (request := _next_request(requests)) is not None:
        header, payload = _answer(request, memory_mib)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        _send(answers, {**header, "cpu_seconds": usage.ru_utime + usage.ru_stime}, payload)


def _limit(memory_mib: int, cpu_seconds: int) -> None:
    """Takes rights away for good: hard limits cannot be raised again."""
    address_space = memory_mib * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
    # At the soft limit the kernel sends SIGXCPU, whose name tells the parent why; the hard limit kills what ignores it.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _next_request(requests: BinaryIO) -> dict[str, Any] | None:
    prefix = requests.read(LENGTH.size)
    if len(prefix) < LENGTH.size:
        return None
    request: dict[str, Any] = json.loads(requests.read(LENGTH.unpack(prefix)[0]))
    return request


def _answer(request: dict[str, Any], memory_mib: int) -> tuple[dict[str, Any], bytes]:
    path = Path(request["path"])
    try:
        if request["do"] == "probe":
            return measured(path), b""
        resize, crop = tuple(request["resize"]), tuple(request["crop"])
        if request["do"] == "mask":
            return masked(path, resize, crop, request["source"])
        return rendered(path, resize, crop, request["background"])
    except Broken as problem:
        return {"problem": str(problem)}, b""
    except MemoryError:
        return {"problem": f"needs more than {memory_mib} MiB of memory to decode; make it smaller or remove it"}, b""


def _send(answers: BinaryIO, header: dict[str, Any], payload: bytes = b"") -> None:
    answers.write(frame(header, payload))
    answers.flush()


if __name__ == "__main__":
    main()
