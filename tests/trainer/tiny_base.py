"""A base model of SD1.5's layout with random weights, 1.6 MB: as real to diffusers as its big relatives, and quick."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from trainer.builtin.shapes.vocabulary import make_tokenizer


def tiny_unet(in_channels: int = 4) -> UNet2DConditionModel:
    """Two levels, so that there are down- and upsamplers, shortcuts, and attention in every block as in SD1.5."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=2,
        norm_num_groups=8,
    )


def tiny_vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=(8, 16, 16, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
    )


def tiny_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            projection_dim=32,
        )
    )


def make_tiny_base(folder: Path, prediction_type: str = "epsilon") -> Path:
    """Writes one into `folder`, in fp32, the text encoder's keys as files spell them: with `text_model.`."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(["star", "heart"])
    pipeline = StableDiffusionPipeline(
        vae=tiny_vae(),
        text_encoder=tiny_text_encoder(tokenizer),
        tokenizer=tokenizer,
        unet=tiny_unet(),
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            prediction_type=prediction_type,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    weights = folder / "text_encoder" / "model.safetensors"
    tensors = load_file(weights)
    named = {key if key.startswith("text_model.") else f"text_model.{key}": value for key, value in tensors.items()}
    save_file(named, weights, metadata={"format": "pt"})
    return folder
