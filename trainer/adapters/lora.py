"""LoRA (Hu et al., arXiv 2106.09685): W x + (alpha / rank) B A x, injected by PEFT.

Shapes. Linear: A (rank, in), B (out, rank). Convolution: A (rank, in, k, k) with the layer's stride and padding,
B (out, rank, 1, 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from trainer.adapters.targets import Layer
from trainer.config import AdapterConfig
from trainer.draws import generator
from trainer.errors import TrainerError

ADAPTER = "default"
"""PEFT's name of the one adapter in a network."""


@dataclass(frozen=True)
class LoraModule:
    """One adapted layer; `down` and `up` are the trained parameters themselves."""

    network: str
    """`unet` or `text_encoder`."""
    path: str
    """The layer's name in its network."""
    down: torch.nn.Parameter
    up: torch.nn.Parameter
    alpha: float

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    @property
    def name(self) -> str:
        return f"{self.network}.{self.path}"


def _initial_down(shape: Sequence[int], seed: int, name: str) -> Tensor:
    """Kaiming-uniform with a = sqrt(5), as the reference draws it: U(-b, b) with b = 1 / sqrt(fan in)."""
    bound = 1 / math.sqrt(math.prod(shape[1:]))
    drawn = generator(seed, "adapter", name).uniform(-bound, bound, size=tuple(shape))
    return torch.from_numpy(drawn).float()


def inject(
    network_name: str,
    network: torch.nn.Module,
    layers: Mapping[str, Layer],
    targets: Sequence[str],
    config: AdapterConfig,
    seed: int,
) -> list[LoraModule]:
    """Puts a LoRA into each target, drawn by the layer's name, in fp32; returns the modules in the order of `targets`."""
    spatial = [path for path in targets if layers[path].is_spatial]
    inject_adapter_in_model(
        LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            target_modules=list(targets),
            rank_pattern={f"^{path}": config.conv_rank for path in spatial},
            alpha_pattern={f"^{path}": config.conv_alpha for path in spatial},
        ),
        network,
        adapter_name=ADAPTER,
    )
    injected = {path for path, module in network.named_modules() if isinstance(module, BaseTunerLayer)}
    if injected != set(targets):
        raise TrainerError(
            f"{len(targets)} layers of {network_name} were to be adapted, but {len(injected)} were; "
            f"the difference: {sorted(injected ^ set(targets))[:5]}."
        )
    modules = []
    for path in targets:
        layer: Any = network.get_submodule(path)
        down, up = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        down.data = _initial_down(down.shape, seed, f"{network_name}.{path}").to(down.device)
        up.data = torch.zeros_like(up, dtype=torch.float32)
        alpha = config.conv_alpha if layers[path].is_spatial else config.alpha
        modules.append(LoraModule(network_name, path, down, up, float(alpha)))
    return modules


class AdaptersOff:
    """Asks the base alone: `with adapters_off: …` turns the adapters of some networks off, and on again at its end."""

    def __init__(self, networks: Sequence[torch.nn.Module]) -> None:
        self._layers = [
            module for network in networks for module in network.modules() if isinstance(module, BaseTunerLayer)
        ]

    def __enter__(self) -> None:
        for layer in self._layers:
            layer.enable_adapters(False)

    def __exit__(self, *_: object) -> None:
        for layer in self._layers:
            layer.enable_adapters(True)
