"""Writing an adapter's files, and the digest over its tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over name, type, shape and bytes of every tensor in order of name, in hexadecimal; metadata does not count."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name}\x00{tensor.dtype}\x00{tuple(tensor.shape)}\x00".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def content_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over a safetensors file of these tensors from behind its header on: what tools know a model by."""
    saved = save(dict(tensors))
    return hashlib.sha256(memoryview(saved)[8 + int.from_bytes(saved[:8], "little") :]).hexdigest()


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes `content`."""
    path.write_bytes(content(tensors, metadata))


def content(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file; the same tensors and metadata give the same bytes.

    safetensors 0.8 puts metadata into the header in an order of chance, so the header is written again in order of key.
    """
    saved = save(dict(tensors), metadata=dict(metadata))
    length = int.from_bytes(saved[:8], "little")
    header = json.loads(saved[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    ordered += b" " * (-len(ordered) % 8)
    return len(ordered).to_bytes(8, "little") + ordered + saved[8 + length :]
