"""Small adapter files, made of nothing but the format's own rules: a length, a JSON header, bytes."""

from __future__ import annotations

import json
import math
from typing import Any

Shapes = dict[str, tuple[int, ...]]

LORA: Shapes = {
    "lora_unet_a.lora_down.weight": (4, 8),
    "lora_unet_a.lora_up.weight": (8, 4),
    "lora_unet_a.alpha": (),
    "lora_te_b.lora_down.weight": (2, 8),
    "lora_te_b.lora_up.weight": (8, 2),
}


def safetensors(shapes: Shapes, **metadata: str) -> bytes:
    """A file of F32 tensors, each byte of them its place modulo 251."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        size = math.prod(shape) * 4
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    return framed(header, bytes(place % 251 for place in range(end)))


def framed(header: object, data: bytes = b"") -> bytes:
    """Any JSON as the header of a file."""
    content = json.dumps(header).encode()
    return len(content).to_bytes(8, "little") + content + data
