"""Pictures made while training: the same prompts and seeds each time, drawn as diffusers draws them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from trainer.config import PreviewConfig
from trainer.families.base import Base

BATCH = 8


@contextmanager
def _not_training(base: Base) -> Iterator[None]:
    """Without dropout. It is switched here and not in every step, since that walks through thousands of layers."""
    modes = [(network, network.training) for network in base.loaded_networks.values()]
    for network, _ in modes:
        network.eval()
    try:
        yield
    finally:
        for network, was_training in modes:
            network.train(was_training)


@torch.no_grad()
def _encoded(base: Base, wanted: Sequence[str], unwanted: Sequence[str]) -> dict[str, Tensor]:
    """Prompts as the pipeline takes them, read at the layer that training reads."""
    return base.prompts(base.encode_captions(wanted), base.encode_captions(unwanted))


def draw_previews(base: Base, config: PreviewConfig, side: int) -> np.ndarray:
    """One picture per prompt, (N, side, side, 3) floats in [0, 1], with the adapters as they stand.

    Each has a generator of its own, so that the same call of a diffusers pipeline makes the same picture.
    """
    pipeline = base.pipeline()
    pictures = []
    with _not_training(base):
        for start in range(0, len(config.prompts), BATCH):
            prompts = config.prompts[start : start + BATCH]
            pictures.append(
                pipeline(
                    **_encoded(
                        base,
                        [prompt.prompt for prompt in prompts],
                        [prompt.negative_prompt for prompt in prompts],
                    ),
                    height=side,
                    width=side,
                    num_inference_steps=config.inference_steps,
                    guidance_scale=config.guidance_scale,
                    generator=[torch.Generator("cpu").manual_seed(prompt.seed) for prompt in prompts],
                    output_type="np",
                ).images
            )
    return np.concatenate(pictures) if pictures else np.zeros((0, side, side, 3), dtype=np.float32)


def draw_latents(base: Base, captions: Sequence[str], seeds: Sequence[int], config: PreviewConfig, side: int) -> Tensor:
    """The base's own idea of each caption, as latents (N, C, side / factor, side / factor), scaled, on the CPU."""
    images: Tensor = base.pipeline()(
        **_encoded(base, captions, [""] * len(captions)),
        height=side,
        width=side,
        num_inference_steps=config.inference_steps,
        guidance_scale=config.guidance_scale,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        output_type="latent",
    ).images
    return images.float().cpu()
