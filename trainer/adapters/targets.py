"""Which layers are adapted, by the names that diffusers and transformers give them. Pure: names and kinds in, names out."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch

from trainer.config import Targets

Pair = tuple[int, int]


@dataclass(frozen=True)
class Layer:
    """One layer that could be adapted: a linear layer, or a two-dimensional convolution without groups."""

    outputs: int
    """O: features or channels."""
    inputs: int
    """I: features or channels."""
    kernel: Pair | None = None
    """Of a convolution; None for a linear layer."""
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    @property
    def is_spatial(self) -> bool:
        """A convolution that looks at neighbours: it has a rank and alpha of its own."""
        return self.kernel is not None and self.kernel != (1, 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight: (O, I) or (O, I, k, k)."""
        return (self.outputs, self.inputs, *(self.kernel or ()))

    @property
    def columns(self) -> int:
        """Of the weight as a matrix: I or I·k·k."""
        return math.prod(self.shape[1:])


_ATTENTION = re.compile(r"attentions\.\d+\.transformer_blocks\.\d+\.attn[12]\.to_(q|k|v|out\.0)$")
_FEED_FORWARD = re.compile(r"attentions\.\d+\.transformer_blocks\.\d+\.ff\.net\.(0\.proj|2)$")
_PROJECTION = re.compile(r"attentions\.\d+\.proj_(in|out)$")
_RESIDUAL = re.compile(
    r"(resnets\.\d+\.(conv1|conv2|time_emb_proj|conv_shortcut)|downsamplers\.\d+\.conv|upsamplers\.\d+\.conv)$"
)
_TEXT = re.compile(r"encoder\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])$")

_UNET: dict[Targets, tuple[re.Pattern[str], ...]] = {
    "attention": (_ATTENTION,),
    "attention_mlp": (_ATTENTION, _FEED_FORWARD),
    "transformer": (_ATTENTION, _FEED_FORWARD, _PROJECTION),
    "all": (_ATTENTION, _FEED_FORWARD, _PROJECTION, _RESIDUAL),
}

_PLACES: dict[Targets, re.Pattern[str]] = {
    "attention": re.compile(r"\.attn[12]\."),
    "attention_mlp": re.compile(r"\.transformer_blocks\."),
    "transformer": re.compile(r"attentions\."),
    "all": re.compile(r"(down_blocks|mid_block|up_blocks)\."),
}
"""Where every layer is a target."""


def layer_of(module: torch.nn.Module) -> Layer | None:
    """What an adapter must know of a layer; None for what cannot be adapted."""
    if isinstance(module, torch.nn.Linear):
        return Layer(module.out_features, module.in_features)
    if isinstance(module, torch.nn.Conv2d) and module.groups == 1 and not isinstance(module.padding, str):
        return Layer(
            module.out_channels,
            module.in_channels,
            kernel=cast("Pair", module.kernel_size),
            stride=cast("Pair", module.stride),
            padding=cast("Pair", module.padding),
            dilation=cast("Pair", module.dilation),
        )
    return None


def layers_of(network: torch.nn.Module) -> dict[str, Layer]:
    """Every layer of a network that could be adapted, by name, in the network's own order."""
    found = ((name, layer_of(module)) for name, module in network.named_modules())
    return {name: layer for name, layer in found if layer is not None}


def unet_targets(layers: Mapping[str, Layer], targets: Targets) -> list[str]:
    """Names of the UNet's layers to adapt. Of SD1.5: `attention` 128, `attention_mlp` 160, `transformer` 192, `all` 278."""
    return [name for name in layers if any(pattern.search(name) for pattern in _UNET[targets])]


def text_encoder_targets(layers: Mapping[str, Layer]) -> list[str]:
    """Names of a CLIP text encoder's layers to adapt. Always all of them: loaders drop q, k and v where `out_proj` lacks."""
    return [name for name in layers if _TEXT.search(name)]


def unforeseen_layers(network: str, layers: Mapping[str, Layer], targets: Targets) -> list[str]:
    """Layers that the targets' words include and that no pattern names: a base with them would be trained in part only."""
    if network != "unet":
        known, place = set(text_encoder_targets(layers)), re.compile(r"encoder\.layers\.")
    else:
        known, place = set(unet_targets(layers, targets)), _PLACES[targets]
    return [name for name in layers if place.search(name) and name not in known]
