"""Which layers are adapted, counted on the real UNet and text encoder of SD1.5, which weigh nothing on the meta device."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from trainer.adapters.targets import Layer, layers_of, text_encoder_targets, unet_targets
from trainer.config import Targets


@pytest.fixture(scope="module")
def unet_layers() -> dict[str, Layer]:
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=64,
            in_channels=4,
            out_channels=4,
            down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
            block_out_channels=(320, 640, 1280, 1280),
            layers_per_block=2,
            cross_attention_dim=768,
            attention_head_dim=8,
            norm_num_groups=32,
        )
    assert sum(parameter.numel() for parameter in unet.parameters()) == 859_520_964, "this is SD1.5's UNet"
    return layers_of(unet)


@pytest.mark.parametrize(
    ("targets", "count", "spatial"),
    [("attention", 128, 0), ("attention_mlp", 160, 0), ("transformer", 192, 0), ("all", 278, 50)],
)
def test_the_unet_of_sd15(targets: Targets, count: int, spatial: int, unet_layers: dict[str, Layer]) -> None:
    chosen = unet_targets(unet_layers, targets)
    assert len(chosen) == len(set(chosen)) == count
    assert sum(unet_layers[name].is_spatial for name in chosen) == spatial


def test_each_choice_of_targets_holds_the_one_before(unet_layers: dict[str, Layer]) -> None:
    names: tuple[Targets, ...] = ("attention", "attention_mlp", "transformer", "all")
    chosen = [set(unet_targets(unet_layers, targets)) for targets in names]
    assert all(less < more for less, more in pairwise(chosen))
    assert not chosen[-1] & {"conv_in", "conv_out", "time_embedding.linear_1", "time_embedding.linear_2"}


def test_the_text_encoder_of_sd15() -> None:
    with torch.device("meta"):
        encoder = CLIPTextModel(
            CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
        )
    chosen = text_encoder_targets(layers_of(encoder))
    assert len(chosen) == 72
    assert sum(name.endswith("out_proj") for name in chosen) == 12
