"""Stable Diffusion 1.x: one CLIP text encoder, 77 tokens, a VAE with four latent channels, UNet2DConditionModel.

Any base of that layout belongs here, at any size. Networks are loaded from a folder in the diffusers layout, safetensors only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from trainer.errors import UserError
from trainer.noise import alphas_cumprod

COMPONENTS = ("scheduler", "text_encoder", "tokenizer", "unet", "vae")


class Sd15Base:
    """A loaded base of this family; see `families.base.Base`. VAE and text encoder stay in fp32, the UNet takes `dtype`."""

    architecture = "stable-diffusion-v1/lora"

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
        missing = [name for name in COMPONENTS if not (folder / name).is_dir()]
        if missing:
            raise UserError(f"The base model lacks {', '.join(missing)}; an sd15 base has {', '.join(COMPONENTS)}.")
        self.device, self.dtype = device, dtype
        options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        self.text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32, **options)
        self.vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32, **options)
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=dtype, **options)
        self._check()
        for network in (self.text_encoder, self.vae, self.unet):
            network.requires_grad_(False).eval().to(device)
        self._scheduler_folder = folder / "scheduler"
        scheduler = self._scheduler().config
        self.prediction_type: str = scheduler.get("prediction_type", "epsilon")
        self.alphas_cumprod = alphas_cumprod(
            scheduler["beta_schedule"],
            scheduler["beta_start"],
            scheduler["beta_end"],
            scheduler["num_train_timesteps"],
        ).to(device)
        self.latent_channels: int = self.vae.config.latent_channels
        self.factor: int = 2 ** (len(self.vae.config.block_out_channels) - 1)
        self.max_tokens: int = self.tokenizer.model_max_length

    def _check(self) -> None:
        width, hidden = self.unet.config.cross_attention_dim, self.text_encoder.config.hidden_size
        if width != hidden:
            raise UserError(
                f"The base model's UNet attends to words of width {width}, its text encoder makes {hidden}: they do not "
                "belong together; import a complete sd15 base."
            )
        if self.unet.config.in_channels != self.vae.config.latent_channels:
            raise UserError(
                f"The base model's UNet takes {self.unet.config.in_channels} channels and its VAE makes "
                f"{self.vae.config.latent_channels}; inpainting and depth models cannot be trained on."
            )

    def _scheduler(self) -> Any:
        """The scheduler that the base names in its own configuration, as diffusers would load it."""
        name = json.loads((self._scheduler_folder / "scheduler_config.json").read_text())["_class_name"]
        if not (isinstance(name, str) and name.endswith("Scheduler") and hasattr(diffusers, name)):
            raise UserError(f"The base model names the scheduler {name!r}, which diffusers does not have.")
        return getattr(diffusers, name).from_pretrained(self._scheduler_folder, local_files_only=True)

    @property
    def networks(self) -> Mapping[str, torch.nn.Module]:
        return {"unet": self.unet, "text_encoder": self.text_encoder}

    @torch.no_grad()
    def encode_pictures(self, pictures: np.ndarray) -> tuple[Tensor, Tensor]:
        pixels = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        posterior = self.vae.encode(pixels).latent_dist
        return posterior.mean.cpu(), posterior.logvar.cpu()

    def scaled(self, latents: Tensor) -> Tensor:
        return latents * self.vae.config.scaling_factor

    def count_tokens(self, caption: str) -> int:
        return len(self.tokenizer(caption, add_special_tokens=False).input_ids)

    def encode_captions(self, captions: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(
            list(captions), padding="max_length", max_length=self.max_tokens, truncation=True, return_tensors="pt"
        ).input_ids
        words: Tensor = self.text_encoder(tokens.to(self.device))[0]
        return words

    def predict(self, noisy: Tensor, timesteps: Tensor, words: Tensor) -> Tensor:
        out: Tensor = self.unet(noisy.to(self.dtype), timesteps, words.to(self.dtype), return_dict=False)[0]
        return out.float()

    def pipeline(self) -> Any:
        pipeline = StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.unet,
            scheduler=self._scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline
