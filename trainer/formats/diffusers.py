"""The file with diffusers' own keys: `unet.<path>.lora_A.weight`, `text_encoder.text_model.<path>.lora_A.weight`.

The format has no alpha tensor. The strength alpha / rank is multiplied into B, so that every loader applies it, those too
that do not read the header.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.adapters.weights import LayerWeights
from trainer.formats import names
from trainer.formats.names import ModuleName

_TENSORS = {"lora_down", "lora_up"}


def representable(layers: Sequence[LayerWeights]) -> str | None:
    """Why this format cannot hold an adapter, as a sentence; None where it can."""
    others = {layer.kind.name for layer in layers if set(layer.tensors) - _TENSORS}
    if others == {"LoRA"}:
        return "diffusers loads no LoRA with Tucker cores; use the kohya file elsewhere, or the one that is converted to a LoRA."
    if others:
        kinds = " and ".join(sorted(others))
        return f"diffusers loads no {kinds}; use the PEFT directory, or the file that is converted to a LoRA."
    return None


def tensors(layers: Sequence[LayerWeights], dtype: torch.dtype) -> dict[str, Tensor]:
    """Every tensor of the file, by key, contiguous, on the CPU."""
    out: dict[str, Tensor] = {}
    for layer in layers:
        key = names.diffusers(ModuleName(layer.network, layer.path))
        scaled = layer.tensors["lora_up"].detach().cpu().double() * layer.scale
        out[f"{key}.lora_A.weight"] = layer.tensors["lora_down"].detach().cpu().to(dtype).contiguous().clone()
        out[f"{key}.lora_B.weight"] = scaled.to(dtype).contiguous()
    return out


def header(layers: Sequence[LayerWeights]) -> dict[str, str]:
    """diffusers' own metadata entry: ranks, and alphas that equal them.

    PEFT takes the names in it for ends of the names of its modules, so that they fit every transformers without `text_model.`
    """
    described: dict[str, object] = {}
    for network in dict.fromkeys(layer.network for layer in layers):
        mine = [layer for layer in layers if layer.network == network]
        common = mine[0].rank
        others = {layer.path.removeprefix("text_model."): layer.rank for layer in mine if layer.rank != common}
        described |= {
            f"{network}.r": common,
            f"{network}.lora_alpha": common,
            f"{network}.rank_pattern": others,
            f"{network}.alpha_pattern": others,
            f"{network}.target_modules": sorted(layer.path.removeprefix("text_model.") for layer in mine),
        }
    return {"format": "pt", "lora_adapter_metadata": json.dumps(described, sort_keys=True)}
