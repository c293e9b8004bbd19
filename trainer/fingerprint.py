"""The numeric fingerprint: under the same one, the same job gives the same bits."""

from __future__ import annotations

import torch


def numeric_fingerprint(device: torch.device, dtype: torch.dtype) -> str:
    """Library build, device, instruction set, threads and number type, in words."""
    parts = [f"torch {torch.__version__}", str(dtype).removeprefix("torch.")]
    if device.type == "cuda":
        parts += [torch.cuda.get_device_name(device), f"cuda {torch.version.cuda}"]
    else:
        parts += [f"cpu {torch.backends.cpu.get_cpu_capability()}", f"{torch.get_num_threads()} threads"]
    parts.append(f"deterministic {torch.are_deterministic_algorithms_enabled()}")
    return ", ".join(parts)
