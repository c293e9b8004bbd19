"""Which layers are adapted, by the names that diffusers and transformers give them. Pure: names and kinds in, names out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from trainer.config import Targets


@dataclass(frozen=True)
class Layer:
    """One layer that could be adapted."""

    kind: str
    """`linear` or `conv`."""
    kernel: tuple[int, ...] = ()
    """Of a convolution."""

    @property
    def is_spatial(self) -> bool:
        """A convolution that looks at neighbours: it has a rank and alpha of its own."""
        return self.kind == "conv" and any(side > 1 for side in self.kernel)


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


def layers_of(network: torch.nn.Module) -> dict[str, Layer]:
    """Every linear layer and two-dimensional convolution of a network, by name, in its own order."""
    layers: dict[str, Layer] = {}
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Linear):
            layers[name] = Layer("linear")
        elif isinstance(module, torch.nn.Conv2d):
            layers[name] = Layer("conv", tuple(module.kernel_size))
    return layers


def unet_targets(layers: Mapping[str, Layer], targets: Targets) -> list[str]:
    """Names of the UNet's layers to adapt. Of SD1.5: `attention` 128, `attention_mlp` 160, `transformer` 192, `all` 278."""
    return [name for name in layers if any(pattern.search(name) for pattern in _UNET[targets])]


def text_encoder_targets(layers: Mapping[str, Layer]) -> list[str]:
    """Names of a CLIP text encoder's layers to adapt. Always all of them: loaders drop q, k and v where `out_proj` lacks."""
    return [name for name in layers if _TEXT.search(name)]
