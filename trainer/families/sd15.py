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
import transformers
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors import SafetensorError
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from trainer.errors import UserError
from trainer.noise import BETA_SCHEDULES, PREDICTION_TYPES, alphas_cumprod

# Their bars would end up in the run's log; progress is told by the run itself.
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()

COMPONENTS = ("scheduler", "text_encoder", "tokenizer", "unet", "vae")


def _network(kind: Any, folder: Path, **options: Any) -> Any:
    """A network from its folder; raises UserError where it cannot be read, or where the files do not hold all of it."""
    try:
        network, found = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, **options
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        why = str(error).partition(". ")[0].removesuffix(".")
        raise UserError(
            f"The base model's {folder.name} cannot be loaded ({why}); import a complete sd15 base in safetensors."
        ) from error
    missing = sorted(found["missing_keys"])
    if missing:
        raise UserError(
            f"The base model's {folder.name} lacks {len(missing)} of its tensors, such as {missing[0]}; "
            "import a complete sd15 base."
        )
    return network


class Sd15Base:
    """A loaded base of this family; see `families.base.Base`. VAE and text encoder stay in fp32, the UNet takes `dtype`."""

    architecture = "stable-diffusion-v1/lora"

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
        missing = [name for name in COMPONENTS if not (folder / name).is_dir()]
        if missing:
            raise UserError(f"The base model lacks {', '.join(missing)}; an sd15 base has {', '.join(COMPONENTS)}.")
        self.device, self.dtype = device, dtype
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        self.text_encoder = _network(CLIPTextModel, folder / "text_encoder", dtype=torch.float32)
        self.vae = _network(AutoencoderKL, folder / "vae", torch_dtype=torch.float32)
        self.unet = _network(UNet2DConditionModel, folder / "unet", torch_dtype=dtype)
        # diffusers' pipeline hands over what text encoder and scheduler make, which is fp32.
        self.unet.register_forward_pre_hook(self._as_unet_type, with_kwargs=True)
        self._check()
        for network in (self.text_encoder, self.vae, self.unet):
            network.requires_grad_(False).eval().to(device)
        self._scheduler_folder = folder / "scheduler"
        scheduler = self._scheduler().config
        self._check_scheduler(scheduler)
        self.prediction_type: str = scheduler.get("prediction_type", "epsilon")
        self.alphas_cumprod = alphas_cumprod(
            scheduler["beta_schedule"],
            scheduler["beta_start"],
            scheduler["beta_end"],
            scheduler["num_train_timesteps"],
            zero_terminal_snr=scheduler.get("rescale_betas_zero_snr", False),
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

    def _check_scheduler(self, scheduler: Mapping[str, Any]) -> None:
        for name, allowed in (("beta_schedule", BETA_SCHEDULES), ("prediction_type", PREDICTION_TYPES)):
            if scheduler.get(name, allowed[0]) not in allowed:
                raise UserError(
                    f"The base model's scheduler has {name} {scheduler[name]!r}, which is not supported; "
                    f"an sd15 base has one of {', '.join(allowed)}."
                )
        if scheduler.get("trained_betas") is not None:
            raise UserError(
                "The base model's scheduler has trained_betas, which is not supported; use another base model."
            )

    def _as_unet_type(self, _: torch.nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The UNet's inputs in its own number type, but for the timesteps: bfloat16 cannot count to 1000."""

        def cast(value: Any) -> Any:
            return value.to(self.dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

        noisy, timesteps, *more = args
        return (cast(noisy), timesteps, *map(cast, more)), {name: cast(value) for name, value in kwargs.items()}

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
        factor: float = self.vae.config.scaling_factor
        return latents * factor

    def count_tokens(self, caption: str) -> int:
        return len(self.tokenizer(caption, add_special_tokens=False).input_ids)

    def encode_captions(self, captions: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(
            list(captions), padding="max_length", max_length=self.max_tokens, truncation=True, return_tensors="pt"
        ).input_ids
        words: Tensor = self.text_encoder(tokens.to(self.device))[0]
        return words

    def predict(self, noisy: Tensor, timesteps: Tensor, words: Tensor) -> Tensor:
        out: Tensor = self.unet(noisy, timesteps, words, return_dict=False)[0]
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
