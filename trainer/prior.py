"""Prior preservation: on captions of known things the adapter must predict what the base predicts.

The examples are the base's own: before training it draws a latent for each caption, so no class pictures are needed
(DreamBooth, arXiv 2208.12242, sec. 3.2, with the base's prediction as the target instead of the noise).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.cache import Cache
from trainer.config import PreviewConfig, PriorConfig
from trainer.families.base import Base
from trainer.previews import draw_latents

BATCH = 8


@dataclass(frozen=True)
class PriorExample:
    """A known thing, as the base draws it."""

    caption: str
    latents: Tensor
    """(C, h, w), scaled, on the CPU."""


def draw_prior(
    config: PriorConfig,
    previews: PreviewConfig,
    base: Base,
    cache: Cache,
    *,
    side: int,
    seed: int,
    base_digest: str,
    fingerprint: str,
    progress: Callable[[int, int], None],
) -> list[PriorExample]:
    """`config.images` examples, spread evenly over the captions. Call it while no adapter is in the base."""
    captions = [config.captions[place % len(config.captions)] for place in range(config.images)]
    examples: list[PriorExample] = []
    for start in range(0, len(captions), BATCH):
        progress(start, len(captions))
        part = captions[start : start + BATCH]
        seeds = [(seed + start + place) % 2**63 for place in range(len(part))]
        key = cache.key(
            "prior",
            captions=part,
            seeds=seeds,
            side=side,
            steps=previews.inference_steps,
            guidance=previews.guidance_scale,
            base=base_digest,
            fingerprint=fingerprint,
        )
        value = cache.get(key)
        if value is None:
            value = {"latents": draw_latents(base, base.encode_captions, part, seeds, previews, side)}
            cache.put(key, value)
        examples.extend(PriorExample(caption, latent) for caption, latent in zip(part, value["latents"], strict=True))
    progress(len(captions), len(captions))
    return examples


def stacked(examples: list[PriorExample]) -> Tensor:
    return torch.stack([example.latents for example in examples])
