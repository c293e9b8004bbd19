"""Which layers are adapted, counted on the real networks of SD1.5, SD2 and SDXL, which weigh nothing on the meta device."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.trainer.full_size import BIG_G, CLIP_L, SD2, SD15, SDXL, VIT_H
from trainer.adapters.targets import Layer, layers_of, text_encoder_targets, unet_targets, unforeseen_layers
from trainer.config import Targets

CHOICES: tuple[Targets, ...] = ("attention", "attention_mlp", "transformer", "all")


@pytest.fixture(scope="module")
def unets() -> dict[str, dict[str, Layer]]:
    with torch.device("meta"):
        sd15, sd2, sdxl = (UNet2DConditionModel(**config) for config in (SD15, SD2, SDXL))
    assert sum(parameter.numel() for parameter in sd15.parameters()) == 859_520_964, "this is SD1.5's UNet"
    assert sum(parameter.numel() for parameter in sd2.parameters()) == 865_910_724, "this is SD2's UNet"
    assert sum(parameter.numel() for parameter in sdxl.parameters()) == 2_567_463_684, "this is SDXL's UNet"
    return {"sd15": layers_of(sd15), "sd2": layers_of(sd2), "sdxl": layers_of(sdxl)}


@pytest.mark.parametrize(
    ("family", "targets", "count", "spatial"),
    [
        ("sd15", "attention", 128, 0),
        ("sd15", "attention_mlp", 160, 0),
        ("sd15", "transformer", 192, 0),
        ("sd15", "all", 192 + 86, 50),
        ("sd2", "transformer", 192, 0),
        ("sd2", "all", 192 + 86, 50),
        ("sdxl", "attention", 560, 0),
        ("sdxl", "attention_mlp", 700, 0),
        ("sdxl", "transformer", 722, 0),
        ("sdxl", "all", 722 + 66, 38),
    ],
)
def test_the_unets(family: str, targets: Targets, count: int, spatial: int, unets: dict[str, dict[str, Layer]]) -> None:
    layers = unets[family]
    chosen = unet_targets(layers, targets)
    assert len(chosen) == len(set(chosen)) == count
    assert sum(layers[name].is_spatial for name in chosen) == spatial
    assert not unforeseen_layers("unet", layers, targets)


@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl"])
def test_each_choice_of_targets_holds_the_one_before(family: str, unets: dict[str, dict[str, Layer]]) -> None:
    chosen = [set(unet_targets(unets[family], targets)) for targets in CHOICES]
    assert all(less < more for less, more in pairwise(chosen))
    assert not chosen[-1] & {"conv_in", "conv_out", "time_embedding.linear_1", "time_embedding.linear_2"}


def test_the_text_encoders() -> None:
    with torch.device("meta"):
        encoders = [
            CLIPTextModel(CLIPTextConfig(**CLIP_L)),
            CLIPTextModel(CLIPTextConfig(**VIT_H)),
            CLIPTextModelWithProjection(CLIPTextConfig(**BIG_G)),
        ]
    layers = [layers_of(encoder) for encoder in encoders]
    chosen = [text_encoder_targets(found) for found in layers]
    assert [len(names) for names in chosen] == [72, 138, 192]
    assert [sum(name.endswith("out_proj") for name in names) for names in chosen] == [12, 23, 32]
    assert not any(unforeseen_layers("text_encoder", found, "all") for found in layers)


@pytest.mark.parametrize(
    ("targets", "path", "foreseen"),
    [
        ("attention", "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_k_ip", False),
        ("attention", "down_blocks.0.attentions.0.transformer_blocks.0.adapter", True),
        ("attention_mlp", "down_blocks.0.attentions.0.transformer_blocks.0.adapter", False),
        ("transformer", "mid_block.attentions.0.gate", False),
        ("transformer", "mid_block.resnets.0.gate", True),
        ("all", "mid_block.resnets.0.gate", False),
        ("all", "class_embedding.linear_1", True),
    ],
)
def test_a_layer_of_no_known_kind_among_the_targets_is_noticed(targets: Targets, path: str, foreseen: bool) -> None:
    found = unforeseen_layers("unet", {path: Layer(8, 8)}, targets)
    assert found == ([] if foreseen else [path])
