"""Names of modules in every dialect, for every layer of the networks of SD1.5, SD2 and SDXL at their full size."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.lora_conversion_utils import (
    _convert_non_diffusers_lora_to_diffusers,
    _maybe_map_sgm_blocks_to_diffusers,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.trainer.full_size import BIG_G, CLIP_L, SD2, SD15, SDXL, VIT_H
from trainer.adapters.targets import layers_of, text_encoder_targets
from trainer.formats import names
from trainer.formats.endings import taken_apart
from trainer.formats.ldm import to_ldm
from trainer.formats.names import ModuleName


@pytest.fixture(scope="module")
def unets() -> dict[str, UNet2DConditionModel]:
    with torch.device("meta"):
        configs = {"sd15": SD15, "sd2": SD2, "sdxl": SDXL}
        return {family: UNet2DConditionModel(**config) for family, config in configs.items()}


@pytest.fixture(scope="module")
def modules(unets: dict[str, UNet2DConditionModel]) -> dict[str, list[ModuleName]]:
    """Every layer of the UNets, and those of the text encoders that are adapted."""
    with torch.device("meta"):
        first, vit_h = (CLIPTextModel(CLIPTextConfig(**config)) for config in (CLIP_L, VIT_H))
        second = CLIPTextModelWithProjection(CLIPTextConfig(**BIG_G))
    found = {family: [ModuleName("unet", path) for path in layers_of(unet)] for family, unet in unets.items()}
    clip_l = [ModuleName("text_encoder", path) for path in text_encoder_targets(layers_of(first))]
    found["sd15"] += clip_l
    found["sd2"] += [ModuleName("text_encoder", path) for path in text_encoder_targets(layers_of(vit_h))]
    found["sdxl"] += clip_l + [ModuleName("text_encoder_2", path) for path in text_encoder_targets(layers_of(second))]
    return found


def test_all_modules_are_there(modules: dict[str, list[ModuleName]]) -> None:
    """Else the tests below would prove little."""
    counts = {
        family: [sum(name.network == n for name in its) for n in names.NETWORKS] for family, its in modules.items()
    }
    assert counts == {"sd15": [282, 72, 0], "sd2": [282, 138, 0], "sdxl": [794, 72, 192]}


@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl"])
def test_every_dialect_names_every_module_so_that_it_is_found_again(
    family: str, modules: dict[str, list[ModuleName]]
) -> None:
    for name in modules[family]:
        assert names.from_kohya(names.kohya(name, family)) == name
        assert names.from_diffusers(names.diffusers(name)) == name
        assert names.from_peft(names.peft(name), name.network) == name
        if name.network != "text_encoder_2":
            assert names.from_lycoris(names.lycoris(name)) == name


@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl"])
def test_kohya_s_names_mean_what_diffusers_takes_them_for(
    family: str, modules: dict[str, list[ModuleName]], unets: dict[str, UNet2DConditionModel]
) -> None:
    sent = {
        f"{names.kohya(name, family)}.lora_{side}.weight": (number, side)
        for number, name in enumerate(modules[family])
        for side in ("down", "up")
    }
    converted, _ = _convert_non_diffusers_lora_to_diffusers(
        _maybe_map_sgm_blocks_to_diffusers(dict(sent), unets[family].config)
    )
    assert len(converted) == len(sent)
    for key, (number, side) in converted.items():
        ending = taken_apart(key, "diffusers")
        assert ending is not None
        assert (names.from_diffusers(ending.module), ending.name) == (modules[family][number], f"lora_{side}")


def test_other_spellings_that_are_met(modules: dict[str, list[ModuleName]]) -> None:
    """SD1.5 in ldm's names and SDXL in diffusers'; a block of SD1.5 without attention has its upsampler at another place."""
    for name in modules["sd15"]:
        if name.network == "unet":
            ldm = to_ldm(name.path).replace("output_blocks.2.2.conv", "output_blocks.2.1.conv")
            assert names.from_kohya(f"lora_unet_{ldm.replace('.', '_')}") == name
            assert names.from_diffusers(name.path) == name
    for name in modules["sdxl"]:
        if name.network == "unet":
            assert names.from_kohya(f"lora_unet_{name.path.replace('.', '_')}") == name


TRANSFORMER = "transformer_blocks.0"
IN_WORDS = {
    "input_blocks_4_1_transformer_blocks_0_attn1_to_q": f"down_blocks.1.attentions.0.{TRANSFORMER}.attn1.to_q",
    "input_blocks_3_0_op": "down_blocks.0.downsamplers.0.conv",
    "middle_block_2_in_layers_2": "mid_block.resnets.1.conv1",
    "output_blocks_2_2_conv": "up_blocks.0.upsamplers.0.conv",
    "label_emb_0_2": "add_embedding.linear_2",
    "up_blocks_1_attentions_2_transformer_blocks_0_ff_net_0_proj": f"up_blocks.1.attentions.2.{TRANSFORMER}.ff.net.0.proj",
}


@pytest.mark.parametrize("module", IN_WORDS)
def test_names_in_words(module: str) -> None:
    assert names.from_kohya(f"lora_unet_{module}") == ModuleName("unet", IN_WORDS[module])


@pytest.mark.parametrize(
    "module",
    [
        "lora_unet_down_blocks_0_attentions_0",
        "lora_unet_down_blocks_0_resnets_0_proj_in",
        "lora_unet_down_blocks_x_attentions_0_proj_in",
        "lora_unet_down_blocks_0_attentions_0_proj_in_",
        "lora_unet__proj_in",
        "lora_unet_input_blocks_3_1_proj_in",
        "lora_unet_input_blocks_4_1_in_layers_2",
        "lora_unet_output_blocks_1_1_conv",
        "lora_unet_middle_block_3_in_layers_2",
        "lora_unet_double_blocks_0_img_attn_qkv",
        "lora_te_encoder_proj_in",
        "lora_te3_encoder_layers_0_mlp_fc1",
        "lora_unet_text_model_encoder_layers_0_mlp_fc1",
    ],
)
def test_names_of_no_layer_are_none(module: str) -> None:
    assert names.from_kohya(module) is None
