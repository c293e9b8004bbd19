"""Stable Diffusion 2.x: OpenCLIP's ViT-H as the text encoder, of whose 24 layers the diffusers layout keeps the 23 that are read.

Most of its bases predict the velocity; those of 512 pixels predict the noise, and their schedulers say so.
"""

from __future__ import annotations

from trainer.families.facts import FamilyFacts
from trainer.families.sd15 import Sd15Base


class Sd2Base(Sd15Base):
    """A base of sd2; see `families.base.Base`. It is put together like one of sd15, with other networks."""

    family = "sd2"
    default_prediction = "v_prediction"

    def _facts(self) -> FamilyFacts:
        velocity = self.prediction_type == "v_prediction"
        return FamilyFacts(
            f"stable-diffusion-v2-{'768-v' if velocity else '512'}/lora",
            "sd_v2_v" if velocity else "sd_v2",
            "StableDiffusionPipeline",
        )
