"""The file that ComfyUI, Forge, A1111 and diffusers load: kohya's keys, one scalar `alpha` a module.

lora_unet_<path, dots as underscores>.lora_down.weight | .lora_up.weight | .alpha
lora_te_text_model_<path …>.…
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.adapters.weights import LayerWeights
from trainer.formats.names import text_model_path

_PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te_"}


def module_key(network: str, path: str) -> str:
    """The key's part before the first dot."""
    full = text_model_path(path) if network == "text_encoder" else path
    return _PREFIXES[network] + full.replace(".", "_")


def tensors(modules: Sequence[LayerWeights], dtype: torch.dtype) -> dict[str, Tensor]:
    """Every tensor of the file, by key, contiguous, on the CPU."""
    out: dict[str, Tensor] = {}
    for module in modules:
        key = module_key(module.network, module.path)
        for name, tensor in module.tensors.items():
            ending = ".weight" if name.startswith("lora_") else ""
            out[f"{key}.{name}{ending}"] = tensor.detach().cpu().to(dtype).contiguous().clone()
        out[f"{key}.alpha"] = torch.tensor(module.alpha, dtype=dtype)
    return out
