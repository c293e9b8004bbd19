"""`config.json` of a UNet: what of it decides, and whether it is one of Stable Diffusion's own kinds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEFAULTS: Mapping[str, Any] = {
    "sample_size": None,
    "in_channels": 4,
    "out_channels": 4,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "cross_attention_dim": 1280,
    "transformer_layers_per_block": 1,
    "attention_head_dim": 8,
    "use_linear_projection": False,
    "addition_embed_type": None,
    "addition_time_embed_dim": None,
    "projection_class_embeddings_input_dim": None,
    "upcast_attention": False,
    "addition_embed_type_num_heads": 64,
}
"""What diffusers takes where an entry is missing."""

_ALONE: Mapping[str, Any] = {
    "center_input_sample": False,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "only_cross_attention": False,
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "dropout": 0.0,
    "act_fn": "silu",
    "reverse_transformer_layers_per_block": None,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "num_attention_heads": None,
    "dual_cross_attention": False,
    "class_embed_type": None,
    "num_class_embeds": None,
    "resnet_time_scale_shift": "default",
    "resnet_skip_time_act": False,
    "resnet_out_scale_factor": 1.0,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "time_embedding_act_fn": None,
    "timestep_post_act": None,
    "time_cond_proj_dim": None,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "attention_type": "default",
    "class_embeddings_concat": False,
    "mid_block_only_cross_attention": None,
    "cross_attention_norm": None,
}
"""Entries that have but this value, which is diffusers' default too, in every base of Stable Diffusion 1.x, 2.x and XL."""

_DOWN = {"CrossAttnDownBlock2D": True, "DownBlock2D": False}
_UP = {"CrossAttnUpBlock2D": True, "UpBlock2D": False}
"""Kinds of levels, and whether they attend to words."""


class Written(dict[str, Any]):
    """A configuration, its defaults filled in, whose entries are attributes too: drawing pipelines ask for either."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def filled_in(written: Mapping[str, Any]) -> Written:
    """With what diffusers takes for the entries that are missing."""
    return Written({**DEFAULTS, **_ALONE, **written})


@dataclass(frozen=True, kw_only=True)
class Level:
    """One size of the image."""

    channels: int
    layers: int
    heads: int
    blocks: int
    """Transformer blocks behind each layer, where the level attends."""
    attends_down: bool
    attends_up: bool


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """What a UNet is built from; sizes from the largest image to the smallest."""

    in_channels: int
    out_channels: int
    levels: tuple[Level, ...]
    cross_attention_dim: int
    norm_num_groups: int
    norm_eps: float
    use_linear_projection: bool
    cosines_first: bool
    frequency_shift: float
    size_width: int | None
    """Width of the embedding of each size and crop, where they are told (SDXL)."""
    told_width: int | None
    """Of pooled text and all of them together."""

    @property
    def time_width(self) -> int:
        """E."""
        return 4 * self.levels[0].channels


def unet_config(written: Mapping[str, Any]) -> UNetConfig | None:
    """None for a UNet that has what no base of Stable Diffusion 1.x, 2.x or XL has."""
    config = filled_in(written)
    unusual = any(config[name] != value for name, value in _ALONE.items() if name != "mid_block_only_cross_attention")
    told = config.addition_embed_type == "text_time"
    if unusual or config.mid_block_only_cross_attention or not (told or config.addition_embed_type is None):
        return None
    channels = list(config.block_out_channels)
    count = len(channels)
    per_level = {
        name: _of_levels(config[name], count)
        for name in ("layers_per_block", "attention_head_dim", "transformer_layers_per_block")
    }
    down, up = list(config.down_block_types), list(config.up_block_types)
    known = (
        all(value is not None for value in per_level.values())
        and isinstance(config.cross_attention_dim, int)
        and isinstance(config.norm_num_groups, int)
        and channels[0] % 2 == 0
        and len(down) == len(up) == count
        and set(down) <= set(_DOWN)
        and set(up) <= set(_UP)
    )
    if not known:
        return None
    layers, heads, blocks = (values or [] for values in per_level.values())
    return UNetConfig(
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        levels=tuple(
            Level(
                channels=channels[place],
                layers=layers[place],
                heads=heads[place],
                blocks=blocks[place],
                attends_down=_DOWN[down[place]],
                attends_up=_UP[up[count - 1 - place]],
            )
            for place in range(count)
        ),
        cross_attention_dim=config.cross_attention_dim,
        norm_num_groups=config.norm_num_groups,
        norm_eps=config.norm_eps,
        use_linear_projection=config.use_linear_projection,
        cosines_first=config.flip_sin_to_cos,
        frequency_shift=config.freq_shift,
        size_width=config.addition_time_embed_dim if told else None,
        told_width=config.projection_class_embeddings_input_dim if told else None,
    )


def _of_levels(value: Any, count: int) -> list[int] | None:
    """One number for each level, where all or each has one; None for anything else."""
    values = [value] * count if isinstance(value, int) else list(value)
    return values if len(values) == count and all(isinstance(one, int) for one in values) else None
