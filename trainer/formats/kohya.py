"""The file that ComfyUI, Forge, A1111 and, of plain LoRAs, diffusers load: kohya's keys with LyCORIS's tensors, one scalar
`alpha` a module.

lora_unet_<path, dots as underscores>.lora_down.weight | .hada_w1_a | .lokr_w1 | … | .alpha
lora_te_text_model_<path …>.…

diffusers 0.42 applies only the commonest alpha of a network to its attention layers. Where they differ, its own format is right.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.adapters.weights import LayerWeights
from trainer.formats import names
from trainer.formats.endings import kohya_ending
from trainer.formats.names import ModuleName


def tensors(layers: Sequence[LayerWeights], dtype: torch.dtype, family: str = "sd15") -> dict[str, Tensor]:
    """Every tensor of the file, by key, contiguous, on the CPU. SDXL's modules are named after ldm's blocks."""
    out: dict[str, Tensor] = {}
    for layer in layers:
        key = names.kohya(ModuleName(layer.network, layer.path), family)
        for name, tensor in layer.tensors.items():
            out[f"{key}.{kohya_ending(name)}"] = tensor.detach().cpu().to(dtype).contiguous().clone()
        out[f"{key}.alpha"] = torch.tensor(layer.alpha, dtype=dtype)
    return out
