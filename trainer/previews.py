"""Pictures made while training: the same prompts and seeds each time, drawn as diffusers draws them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.config import PreviewConfig
from trainer.families.base import Base, Conditioning
from trainer.samplers import SamplerName

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
def draw_previews(base: Base, said: Said, config: PreviewConfig) -> np.ndarray:
    """One picture per prompt, (N, height, width, 3) floats in [0, 1], with the adapters as they stand.

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
                    (config.width, config.height),
                    config.sampler,
                    output_type="np",
                )
            )
    return np.concatenate(pictures) if pictures else np.zeros((0, config.height, config.width, 3), dtype=np.float32)


@torch.no_grad()
def draw_latents(
    base: Base, said: Said, captions: Sequence[str], seeds: Sequence[int], config: PreviewConfig, side: int
) -> Tensor:
    """The base's own idea of each caption, as latents (N, C, side / factor, side / factor), scaled, on the CPU.

    Always by the base's own sampler: what previews look like must not change what is learnt.
    """
    wanted, unwanted = said(captions), said([""] * len(captions))
    images: Tensor = _drawn(base, wanted, unwanted, seeds, config, (side, side), "base", output_type="latent")
    return images.float().cpu()


def _drawn(
    base: Base,
    wanted: Conditioning,
    unwanted: Conditioning,
    seeds: Sequence[int],
    config: PreviewConfig,
    size: tuple[int, int],
    sampler: SamplerName,
    *,
    output_type: str,
) -> Any:
    """What diffusers' pipeline draws at this size, (width, height).

    The first noise is drawn here as the pipeline would draw it, since without text encoders it would take the UNet's number type.
    """
    from diffusers.utils.torch_utils import randn_tensor

    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    width, height = size
    shape = (len(seeds), base.latent_channels, height // base.factor, width // base.factor)
    return base.pipeline(sampler)(
        **base.prompts(wanted, unwanted),
        height=height,
        width=width,
        num_inference_steps=config.inference_steps,
        guidance_scale=config.guidance_scale,
        generator=generators,
        latents=randn_tensor(shape, generator=generators, device=base.device, dtype=torch.float32),
        output_type=output_type,
    ).images
