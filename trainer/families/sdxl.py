"""Stable Diffusion XL (Podell et al., arXiv 2307.01952): two text encoders, and a UNet that is told the picture's sizes.

The words of CLIP-L and of OpenCLIP's bigG stand side by side, each from the last layer but one and without the final layer norm;
bigG's projection of the caption's end is the pooled text. Its own VAE is never run in fp16: it makes NaN there (`components`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainer.errors import UserError
from trainer.families.base import Conditioning, Framing
from trainer.families.facts import FamilyFacts
from trainer.families.stable_diffusion import StableDiffusion
from trainer.families.text import TextEncoder

_SIZES = 6
"""Numbers that the UNet is told of a picture: height and width of the original, top and left of the crop, height and width."""


class SdxlBase(StableDiffusion):
    """A base of sdxl; see `families.base.Base`."""

    family = "sdxl"
    component_names = ("scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "vae")
    text_kinds: ClassVar[dict[str, str]] = {
        "text_encoder": "transformers:CLIPTextModel",
        "text_encoder_2": "transformers:CLIPTextModelWithProjection",
    }

    def _text_encoders(self, clip_skip: int | None) -> tuple[TextEncoder, ...]:
        skip = clip_skip or 2
        return (
            TextEncoder(self.components, "text_encoder", "tokenizer", clip_skip=skip, normalized=False, pools=False),
            TextEncoder(self.components, "text_encoder_2", "tokenizer_2", clip_skip=skip, normalized=False, pools=True),
        )

    def _check(self) -> None:
        super()._check()
        unet, pooled = self.components.config("unet"), self.components.config("text_encoder_2").projection_dim
        if unet.addition_embed_type != "text_time":
            raise UserError(
                "The base model's UNet takes neither pooled text nor sizes (its addition_embed_type is "
                f"{unet.addition_embed_type!r}); import a complete sdxl base."
            )
        told = pooled + _SIZES * unet.addition_time_embed_dim
        if unet.projection_class_embeddings_input_dim != told:
            raise UserError(
                f"The base model's UNet is told {unet.projection_class_embeddings_input_dim} numbers beside the words, and "
                f"pooled text and sizes are {told}: they do not belong together; import a complete sdxl base, not a refiner."
            )

    def framed(self, conditioning: Conditioning, framings: Sequence[Framing]) -> Conditioning:
        numbers = [(*framing.original, *framing.crop, *framing.target) for framing in framings]
        sizes = torch.tensor(numbers, dtype=torch.float32)
        return conditioning.with_time_ids(sizes.to(self.device, non_blocking=True))

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        told = {"text_embeds": conditioning.pooled, "time_ids": conditioning.time_ids}
        out: Tensor = self.unet(noisy, timesteps, conditioning.words, added_cond_kwargs=told, return_dict=False)[0]
        return out.float()

    def _facts(self) -> FamilyFacts:
        return FamilyFacts("stable-diffusion-xl-v1-base/lora", "sdxl_base_v1-0", "StableDiffusionXLPipeline")

    def _pipeline(self, scheduler: Any) -> Any:
        from diffusers import StableDiffusionXLPipeline

        return StableDiffusionXLPipeline(
            vae=self.vae,
            text_encoder=None,
            text_encoder_2=None,
            tokenizer=None,
            tokenizer_2=None,
            unet=self.unet,
            scheduler=scheduler,
            add_watermarker=False,
        )

    def prompts(self, wanted: Conditioning, unwanted: Conditioning) -> dict[str, Tensor]:
        pooled = {"pooled_prompt_embeds": wanted.pooled, "negative_pooled_prompt_embeds": unwanted.pooled}
        return super().prompts(wanted, unwanted) | {name: value for name, value in pooled.items() if value is not None}
