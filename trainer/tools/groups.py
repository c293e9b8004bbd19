"""Layers by the part of the base model that they belong to, as tables show them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from trainer.adapters.weights import LayerWeights

_BLOCK = re.compile(r"(down_blocks\.\d+|mid_block|up_blocks\.\d+)\.")
_PARTS = (
    ("attention", re.compile(r"\.attn[12]\.|self_attn\.")),
    ("feed-forward", re.compile(r"\.ff\.|mlp\.")),
    ("projections", re.compile(r"\.proj_(in|out)$")),
    ("resnets", re.compile(r"(resnets|downsamplers|upsamplers)\.")),
)


def block_of(layer: LayerWeights) -> str:
    """`unet.down_blocks.0`, `text_encoder`, …; the network itself for what lies in no block."""
    match = _BLOCK.match(layer.path)
    return f"{layer.network}.{match[1]}" if match else layer.network


def part_of(layer: LayerWeights) -> str:
    """What a layer does in its block."""
    return next((part for part, pattern in _PARTS if pattern.search(layer.path)), "other")


def grouped(layers: Iterable[LayerWeights]) -> dict[str, list[LayerWeights]]:
    """By block, in the order of the layers."""
    found: dict[str, list[LayerWeights]] = {}
    for layer in layers:
        found.setdefault(block_of(layer), []).append(layer)
    return found
