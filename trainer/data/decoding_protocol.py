"""What passes between the trainer and its decoding child: frames over pipes, and the limits that the child lives under.

A frame is four bytes of length (big-endian), a JSON object of that length, and as many raw bytes as the object's
`payload_bytes` says. Never pickle: what a hostile picture makes of the child, yields no more than a wrong picture.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

LENGTH = struct.Struct(">I")
LARGEST_HEADER = 1 << 16
"""Bytes of a frame's JSON; more than any path or answer needs."""
LARGEST_PICTURE = 64_000_000
"""Pixels. Far above any camera, far below a decompression bomb."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a decoding child may use."""

    memory_mib: int = 2048
    """Address space. The largest picture needs about 1 GiB: four bytes a pixel, in up to four copies."""
    cpu_seconds: int = 60
    """Processor time of a child; it is replaced at half of it, so that every picture has at least the other half."""
    wall_seconds: float = 120.0
    """Time for one picture. Well above the processor time, for machines that are busy with other work."""


def frame(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """A message as it goes through the pipe."""
    body = json.dumps({**header, "payload_bytes": len(payload)}).encode()
    return LENGTH.pack(len(body)) + body + payload
