"""Which family of base models an adapter was made for, guessed from the names of its layers and their widths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from trainer.adapters.targets import Layer
from trainer.formats.names import ModuleName

Family = Literal["sd15", "sd2", "sdxl"]

_SDXL_ALONE = re.compile(r"add_embedding\..*|.*transformer_blocks\.[1-9].*")
_SD15_ALONE = re.compile(r"(down_blocks\.0\.attentions|(down|up)_blocks\.3)\..*")
_WORDS = re.compile(r".*attn2\.to_[kv]")
_WORD_WIDTHS: dict[int, Family] = {768: "sd15", 2048: "sdxl", 1024: "sd2"}
"""What the UNet attends to."""


def family_by_names(names: Mapping[ModuleName, str]) -> Family:
    """By the layers, and by how their modules are spelt (the values): SDXL has ldm's blocks and two text encoders."""
    paths = [name.path for name in names if name.network == "unet"]
    if any(name.network == "text_encoder_2" for name in names) or any(map(_SDXL_ALONE.fullmatch, paths)):
        return "sdxl"
    if any(map(_SD15_ALONE.fullmatch, paths)):
        return "sd15"
    sdxl = any(module.startswith("lora_te1_") or "put_blocks_" in module for module in names.values())
    return "sdxl" if sdxl else "sd15"


def family_of(guess: Family, layers: Mapping[ModuleName, Layer]) -> Family:
    """The guess by names, corrected by the width of the words that the UNet attends to, where that is a known one."""
    widths = {layer.inputs for name, layer in layers.items() if _WORDS.fullmatch(name.path)}
    return next((_WORD_WIDTHS[width] for width in widths if width in _WORD_WIDTHS), guess)
