"""DyLoRA (Valipour et al., arXiv 2210.07558, sec. 3): a LoRA of which every multiple of a unit is a LoRA too.

In each step one rank b of {u, 2u, …, r} is drawn for the whole network, and the forward pass sees the ranks below b alone. FROZEN
(the paper's algorithm 1) sends gradient to the newest block [b - u, b) only, JOINT to all of [0, b).

The strength at rank b is (alpha / r) · sqrt(r / b): alpha / r at the full rank, so that the file is an ordinary LoRA; a file cut
to rank b states alpha = b · strength, so that every loader applies the strength it was trained at.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from trainer.adapters.mathematics import Tensors
from trainer.adapters.weights import LayerWeights

Mode = Literal["frozen", "joint"]


def ranks(rank: int, unit: int) -> range:
    """{u, 2u, …, r}; the unit divides the rank."""
    return range(unit, rank + 1, unit)


def draw_rank(rank: int, unit: int, draw: np.random.Generator) -> int:
    """One of `ranks`, uniformly."""
    return int(draw.choice(np.array(ranks(rank, unit))))


def strength(rank: int, alpha: float, cut: int) -> float:
    """What ΔW is multiplied by when only the first `cut` ranks are used."""
    return alpha / rank * math.sqrt(rank / cut)


def truncated(tensors: Tensors, cut: int) -> dict[str, Tensor]:
    """The first `cut` ranks of a flat LoRA: views of its tensors."""
    return {"lora_down": tensors["lora_down"][:cut], "lora_up": tensors["lora_up"][:, :cut]}


def newest_block(tensors: Tensors, cut: int, unit: int, mode: Mode) -> dict[str, Tensor]:
    """`truncated`, with gradient where the mode sends it."""
    if mode == "joint" or cut == unit:
        return truncated(tensors, cut)
    older = cut - unit
    down, up = tensors["lora_down"], tensors["lora_up"]
    return {
        "lora_down": torch.cat([down[:older].detach(), down[older:cut]]),
        "lora_up": torch.cat([up[:, :older].detach(), up[:, older:cut]], dim=1),
    }


def cut_off(layer: LayerWeights, cut: int) -> LayerWeights:
    """A layer's first `cut` ranks as a plain LoRA of the strength that they were trained at; all of one that has fewer."""
    rank = layer.kind.rank(layer.tensors) or 0
    own = min(cut, rank)
    return layer.with_tensors(truncated(layer.tensors, own), alpha=own * strength(rank, layer.alpha, own))
