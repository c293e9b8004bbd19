"""Pictures made while training: the same prompts and seeds each time, drawn as diffusers draws them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from trainer.config import PreviewConfig
from trainer.families.base import Base, Conditioning

BATCH = 8

Said = Callable[[Sequence[str]], Conditioning]
"""What the text encoders make of captions."""


@contextmanager
def not_training(base: Base) -> Iterator[None]:
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
def draw_previews(base: Base, said: Said, config: PreviewConfig, side: int) -> np.ndarray:
    """One picture per prompt, (N, side, side, 3) floats in [0, 1], with the adapters as they stand.

    Each has a generator of its own, so that the same call of a diffusers pipeline makes the same picture. `said` tells what the
    text encoders make of prompts.
    """
    pictures = []
    with not_training(base):
        for start in range(0, len(config.prompts), BATCH):
            prompts = config.prompts[start : start + BATCH]
            pictures.append(
                _drawn(
                    base,
                    said([prompt.prompt for prompt in prompts]),
                    said([prompt.negative_prompt for prompt in prompts]),
                    [prompt.seed for prompt in prompts],
                    config,
                    side,
                    output_type="np",
                )
            )
    return np.concatenate(pictures) if pictures else np.zeros((0, side, side, 3), dtype=np.float32)


@torch.no_grad()
def draw_latents(
    base: Base, said: Said, captions: Sequence[str], seeds: Sequence[int], config: PreviewConfig, side: int
) -> Tensor:
    """The base's own idea of each caption, as latents (N, C, side / factor, side / factor), scaled, on the CPU."""
    wanted, unwanted = said(captions), said([""] * len(captions))
    images: Tensor = _drawn(base, wanted, unwanted, seeds, config, side, output_type="latent")
    return images.float().cpu()


def _drawn(
    base: Base,
    wanted: Conditioning,
    unwanted: Conditioning,
    seeds: Sequence[int],
    config: PreviewConfig,
    side: int,
    *,
    output_type: str,
) -> Any:
    """What diffusers' pipeline draws.

    The first noise is drawn here as the pipeline would draw it, since without text encoders it would take the UNet's number type.
    """
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    shape = (len(seeds), base.latent_channels, side // base.factor, side // base.factor)
    return base.pipeline()(
        **base.prompts(wanted, unwanted),
        height=side,
        width=side,
        num_inference_steps=config.inference_steps,
        guidance_scale=config.guidance_scale,
        generator=generators,
        latents=randn_tensor(shape, generator=generators, device=base.device, dtype=torch.float32),
        output_type=output_type,
    ).images
