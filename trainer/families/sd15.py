"""Stable Diffusion 1.x: one CLIP text encoder, whose last layer is read through its final layer norm."""

from __future__ import annotations

from typing import Any, ClassVar

from trainer.families.facts import FamilyFacts
from trainer.families.stable_diffusion import StableDiffusion
from trainer.families.text import TextEncoder


class Sd15Base(StableDiffusion):
    """A base of sd15; see `families.base.Base`."""

    family = "sd15"
    component_names = ("scheduler", "text_encoder", "tokenizer", "unet", "vae")
    text_kinds: ClassVar[dict[str, str]] = {"text_encoder": "transformers:CLIPTextModel"}

    def _text_encoders(self, clip_skip: int | None) -> tuple[TextEncoder, ...]:
        return (
            TextEncoder(
                self.components, "text_encoder", "tokenizer", clip_skip=clip_skip or 1, normalized=True, pools=False
            ),
        )

    def _facts(self) -> FamilyFacts:
        return FamilyFacts("stable-diffusion-v1/lora", "sd_v1", "StableDiffusionPipeline")

    def _pipeline(self, scheduler: Any) -> Any:
        from diffusers import StableDiffusionPipeline

        return StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=None,
            tokenizer=None,
            unet=self.unet,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
