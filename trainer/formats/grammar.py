"""The names that layers have in diffusers' UNet and in CLIP's text encoders: a closed set of words, so that a name whose dots
became underscores can be read again without the model at hand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from trainer.adapters.targets import Pair

_BLOCK = r"(down_blocks\.\d+|mid_block|up_blocks\.\d+)"
_RESNET = r"resnets\.\d+\.(conv1|conv2|time_emb_proj|conv_shortcut)"
_ATTENTION = (
    r"attentions\.\d+\.(proj_in|proj_out|transformer_blocks\.\d+\."
    r"(attn[12]\.to_(q|k|v|out\.0)|ff\.net\.(0\.proj|2)))"
)
_UNET = re.compile(
    rf"conv_in|conv_out|(time|add)_embedding\.linear_[12]|{_BLOCK}\.({_RESNET}|{_ATTENTION})"
    r"|down_blocks\.\d+\.downsamplers\.0\.conv|up_blocks\.\d+\.upsamplers\.0\.conv"
)
_TEXT = re.compile(r"encoder\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])")

_WORDS = """
    down_blocks mid_block up_blocks resnets attentions downsamplers upsamplers conv conv_in conv_out conv1 conv2 conv_shortcut
    time_emb_proj time_embedding add_embedding linear_1 linear_2 transformer_blocks attn1 attn2 to_q to_k to_v to_out ff net proj
    proj_in proj_out
    text_model encoder layers self_attn q_proj k_proj v_proj out_proj mlp fc1 fc2
    input_blocks middle_block output_blocks in_layers out_layers emb_layers skip_connection op out time_embed label_emb
"""
"""Of diffusers' UNet, of CLIP, and of the UNet's first code base (`ldm`)."""
_WORD = re.compile(rf"({'|'.join(sorted(_WORDS.split(), key=len, reverse=True))}|\d+)_")


def unflattened(flat: str) -> str | None:
    """`down_blocks_0_attentions_1_proj_in` with dots where they were; None for what is not made of the known words."""
    words = _WORD.findall(f"{flat}_")
    return ".".join(words) if "_".join(words) == flat else None


def is_unet_layer(path: str) -> bool:
    """Whether diffusers' UNet can have a layer of this name."""
    return _UNET.fullmatch(path) is not None


def is_text_layer(path: str) -> bool:
    """Whether a CLIP text encoder can have a layer of this name, said without `text_model.`."""
    return _TEXT.fullmatch(path) is not None


@dataclass(frozen=True)
class Geometry:
    """What a layer's name says of its shape."""

    kernels: tuple[Pair | None, ...]
    """What its kernel can be, the likelier first; None for a linear layer."""
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)


def geometry(path: str, *, projections_convolve: bool) -> Geometry:
    """`projections_convolve`: whether `proj_in` and `proj_out` are rather 1x1 convolutions, as in SD1.5, than linear layers."""
    last = path.rpartition(".")[2]
    if last in ("proj_in", "proj_out"):
        return Geometry(((1, 1), None) if projections_convolve else (None, (1, 1)))
    if last == "conv_shortcut":
        return Geometry(((1, 1),))
    if not last.startswith("conv"):
        return Geometry((None,))
    stride = (2, 2) if "downsamplers" in path else (1, 1)
    return Geometry(((3, 3),), stride, (1, 1))
