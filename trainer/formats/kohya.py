"""The file that ComfyUI, Forge, A1111 and, of plain LoRAs, diffusers load: kohya's keys with LyCORIS's tensors, one scalar
`alpha` a module.

lora_unet_<path, dots as underscores>.lora_down.weight | .hada_w1_a | .lokr_w1 | … | .alpha
lora_te_text_model_<path …>.…

diffusers 0.42 applies only the commonest alpha of a network to its attention layers. So that no loader can be wrong, the layers
of a network that are no wider convolutions state one alpha, that of most of them; what theirs is beyond it, is in `lora_up`.
"""

from __future__ import annotations

from collections import Counter
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
    for layer in _of_one_alpha(layers):
        key = names.kohya(ModuleName(layer.network, layer.path), family)
        for name, tensor in layer.tensors.items():
            out[f"{key}.{kohya_ending(name)}"] = tensor.detach().cpu().to(dtype).contiguous().clone()
        out[f"{key}.alpha"] = _alpha(layer.alpha, dtype)
    return out


def _alpha(alpha: float, dtype: torch.dtype) -> Tensor:
    """In the file's type where that can say it; else in fp32, since every number of the layer is multiplied by it."""
    said = torch.tensor(alpha, dtype=dtype)
    return said if said.item() == alpha else torch.tensor(alpha, dtype=torch.float32)


def _of_one_alpha(layers: Sequence[LayerWeights]) -> list[LayerWeights]:
    """The same changes of weights, stated so that no loader can take one layer's alpha for another's."""
    alphas: dict[str, Counter[float]] = {}
    for layer in filter(_is_plain, layers):
        alphas.setdefault(layer.network, Counter())[layer.alpha] += 1
    common = {network: max(counted, key=lambda alpha: (counted[alpha], alpha)) for network, counted in alphas.items()}
    return [_stating(layer, common[layer.network]) if _is_plain(layer) else layer for layer in layers]


def _is_plain(layer: LayerWeights) -> bool:
    """A LoRA of a layer that diffusers may take for attention."""
    return set(layer.tensors) == {"lora_down", "lora_up"} and not layer.layer.is_spatial


def _stating(layer: LayerWeights, alpha: float) -> LayerWeights:
    if layer.alpha == alpha:
        return layer
    up = layer.tensors["lora_up"].detach().double() * (layer.alpha / alpha)
    return layer.with_tensors({**layer.tensors, "lora_up": up}, alpha)
