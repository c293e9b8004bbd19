"""Base models of each family's layout with random weights, some hundred kilobytes: as real to diffusers as their relatives."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from tests.trainer.tiny_base import make_tiny_base, tiny_vae
from trainer.builtin.shapes.vocabulary import make_tokenizer


def _scheduler(prediction_type: str) -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )


def _text_config(tokenizer: CLIPTokenizer, width: int, projection: int, act: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        projection_dim=projection,
        hidden_act=act,
    )


def make_tiny_sd2(folder: Path, prediction_type: str = "v_prediction") -> Path:
    """Linear projections and OpenCLIP's activation, as sd2 has them."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(["star", "heart"])
    StableDiffusionPipeline(
        vae=tiny_vae(),
        text_encoder=CLIPTextModel(_text_config(tokenizer, 32, 32, "gelu")),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=8,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            block_out_channels=(16, 32),
            layers_per_block=1,
            cross_attention_dim=32,
            attention_head_dim=(2, 4),
            norm_num_groups=8,
            use_linear_projection=True,
        ),
        scheduler=_scheduler(prediction_type),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def make_tiny_sdxl(folder: Path, prediction_type: str = "epsilon") -> Path:
    """Two text encoders of unlike widths, pooled text, sizes; no attention at the first level, several blocks at the last."""
    torch.manual_seed(0)
    tokenizer, tokenizer_2 = make_tokenizer(["star", "heart"]), make_tokenizer(["star", "heart"])
    tokenizer_2.pad_token = "<|startoftext|>"  # unlike the first one's, as in sdxl
    pooled, sizes = 20, 6 * 8
    vae = tiny_vae()
    vae.register_to_config(scaling_factor=0.13025)
    StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(_text_config(tokenizer, 16, 16, "quick_gelu")),
        text_encoder_2=CLIPTextModelWithProjection(_text_config(tokenizer_2, 24, pooled, "gelu")),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        unet=UNet2DConditionModel(
            sample_size=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(16, 32),
            layers_per_block=2,
            transformer_layers_per_block=(1, 2),
            attention_head_dim=(2, 4),
            cross_attention_dim=16 + 24,
            norm_num_groups=8,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=pooled + sizes,
        ),
        scheduler=_scheduler(prediction_type),
        add_watermarker=False,
    ).save_pretrained(folder)
    return folder


MAKERS = {"sd15": make_tiny_base, "sd2": make_tiny_sd2, "sdxl": make_tiny_sdxl}
