"""A safetensors file that is never whole in memory: tensors are made one by one, while it is written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor


def write_in_fp32(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    tensor_of: Callable[[str], Tensor],
    metadata: Mapping[str, str],
) -> None:
    """`tensor_of` gives each tensor by its key, once, in order of key."""
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for key, shape in sorted(shapes.items()):
        begin, end = end, end + 4 * math.prod(shape)
        header[key] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for key in sorted(shapes):
            file.write(tensor_of(key).to(torch.float32).contiguous().numpy().tobytes())
