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
from trainer.formats.names import ModuleName, file_path


def tensors(modules: Sequence[LayerWeights], dtype: torch.dtype) -> dict[str, Tensor]:
    """Every tensor of the file, by key, contiguous, on the CPU."""
    out: dict[str, Tensor] = {}
    for module in modules:
        key = names.diffusers(ModuleName(module.network, module.path))
        scaled = module.tensors["lora_up"].detach().cpu().double() * module.scale
        out[f"{key}.lora_A.weight"] = module.tensors["lora_down"].detach().cpu().to(dtype).contiguous().clone()
        out[f"{key}.lora_B.weight"] = scaled.to(dtype).contiguous()
    return out


def header(modules: Sequence[LayerWeights]) -> dict[str, str]:
    """diffusers' own metadata entry: ranks, and alphas that equal them."""
    described: dict[str, object] = {}
    for network in dict.fromkeys(module.network for module in modules):
        mine = [module for module in modules if module.network == network]
        common = mine[0].rank
        others = {file_path(ModuleName(m.network, m.path)): m.rank for m in mine if m.rank != common}
        described |= {
            f"{network}.r": common,
            f"{network}.lora_alpha": common,
            f"{network}.rank_pattern": others,
            f"{network}.alpha_pattern": others,
            f"{network}.target_modules": sorted(module.path for module in mine),
        }
    return {"format": "pt", "lora_adapter_metadata": json.dumps(described, sort_keys=True)}
