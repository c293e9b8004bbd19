"""A UNet's files → the network, frozen weights and all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from trainer.families.unet import UNet
from trainer.families.unet_config import UNetConfig, Written

_FILE = "diffusion_pytorch_model.safetensors"
_INDEX = f"{_FILE}.index.json"


def load_unet(
    folder: Path, config: UNetConfig, written: Written, device: torch.device, dtype: torch.dtype
) -> tuple[UNet, list[str]]:
    """The network on the device, and the names of the tensors that the files lack; those that nobody asks for are not read.

    Raises OSError, ValueError, RuntimeError and SafetensorError for files that are no such network's.
    """
    with torch.device("meta"):
        network = UNet(config, written)
    wanted = set(network.state_dict())
    tensors = {name: tensor.to(device, dtype) for path in _files(folder) for name, tensor in _tensors(path, wanted)}
    found = network.load_state_dict(tensors, strict=False, assign=True)
    return network, sorted(found.missing_keys)


def _files(folder: Path) -> list[Path]:
    """One file, or the parts that an index names."""
    index = folder / _INDEX
    if (folder / _FILE).is_file() or not index.is_file():
        return [folder / _FILE]
    parts: dict[str, str] = json.loads(index.read_text())["weight_map"]
    return [folder / name for name in sorted({Path(name).name for name in parts.values()})]


def _tensors(path: Path, wanted: set[str]) -> Iterator[tuple[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 (it is no mapping)
            if name in wanted:
                yield name, file.get_tensor(name)
