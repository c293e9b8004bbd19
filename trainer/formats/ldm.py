"""The UNet's block names of the code base that Stable Diffusion was first published with, which SDXL's adapters are written in.

With two resnets in a block that goes down and three in one that goes up, as in SD1.5 and SDXL:

| diffusers | ldm |
|---|---|
| down_blocks.i.resnets.j, .attentions.j | input_blocks.{1+3i+j}.0, .1 |
| down_blocks.i.downsamplers.0.conv | input_blocks.{3+3i}.0.op |
| mid_block.resnets.0, .attentions.0, .resnets.1 | middle_block.0, .1, .2 |
| up_blocks.i.resnets.j, .attentions.j | output_blocks.{3i+j}.0, .1 |
| up_blocks.i.upsamplers.0.conv | output_blocks.{2+3i}.2.conv; in a block without attention, as SD1.5 has one, .1.conv |
"""

from __future__ import annotations

import re

from trainer.formats.grammar import is_unet_layer

_OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_MIDDLE = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}
_OUTSIDE_BACK = {ldm: path for path, ldm in _OUTSIDE.items()}
_RESNET_BACK = {ldm: path for path, ldm in _RESNET.items()}
_MIDDLE_BACK = {ldm: path for path, ldm in _MIDDLE.items()}

_DIFFUSERS = re.compile(
    r"(?:(?P<way>down|up)_blocks\.(?P<block>\d+)|mid_block)\.(?P<part>\w+)\.(?P<place>\d+)\.(?P<rest>.+)"
)
_LDM = re.compile(r"(?P<way>input|middle|output)_blocks?\.(?P<number>\d{1,3})(?:\.(?P<part>\d))?\.(?P<rest>\D.*)")


def is_ldm(path: str) -> bool:
    """Whether a layer's name is of this kind."""
    return path in _OUTSIDE_BACK or _LDM.fullmatch(path) is not None


def to_ldm(path: str) -> str:
    """SDXL's name of a layer of diffusers' UNet."""
    if path in _OUTSIDE:
        return _OUTSIDE[path]
    match = _DIFFUSERS.fullmatch(path)
    if match is None:
        raise ValueError(f"{path} is no layer of diffusers' UNet")
    part, place, rest = match["part"], int(match["place"]), match["rest"]
    rest = _RESNET[rest] if part == "resnets" else rest
    if match["block"] is None:
        return f"middle_block.{_MIDDLE[f'{part}.{place}']}.{rest}"
    block = int(match["block"])
    if part == "downsamplers":
        return f"input_blocks.{3 + 3 * block}.0.op"
    if part == "upsamplers":
        return f"output_blocks.{2 + 3 * block}.2.conv"
    inner = 1 if part == "attentions" else 0
    if match["way"] == "down":
        return f"input_blocks.{1 + 3 * block + place}.{inner}.{rest}"
    return f"output_blocks.{3 * block + place}.{inner}.{rest}"


def from_ldm(path: str) -> str | None:
    """The layer's name in diffusers' UNet; None for what is none."""
    if path in _OUTSIDE_BACK:
        return _OUTSIDE_BACK[path]
    match = _LDM.fullmatch(path)
    if match is None:
        return None
    found = _middle(match) if match["way"] == "middle" else _beside(match)
    return found if found is not None and is_unet_layer(found) else None


def _middle(match: re.Match[str]) -> str | None:
    part = _MIDDLE_BACK.get(match["number"])
    if part is None or match["part"] is not None:
        return None
    return f"mid_block.{part}.{_RESNET_BACK.get(match['rest'], match['rest'])}"


def _beside(match: re.Match[str]) -> str | None:
    down, part, rest = match["way"] == "input", match["part"], match["rest"]
    block, place = divmod(int(match["number"]) - down, 3)
    side = f"{'down' if down else 'up'}_blocks.{block}"
    if down and place == 2:
        return f"{side}.downsamplers.0.conv" if (part, rest) == ("0", "op") else None
    if rest == "conv":
        return f"{side}.upsamplers.0.conv" if place == 2 and part in ("1", "2") else None
    if part == "0":
        return f"{side}.resnets.{place}.{_RESNET_BACK.get(rest, rest)}"
    return f"{side}.attentions.{place}.{rest}" if part == "1" else None
