"""What differs between families of Stable Diffusion, behind one interface. A new family is one file and one registry line.

Shapes: B examples, T tokens, D width of the words, P width of the pooled text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from trainer.families.facts import FamilyFacts
from trainer.families.text import Encoded, TextEncoder
from trainer.samplers import SamplerName
from trainer.text.chunks import ROOM


@dataclass(frozen=True)
class Conditioning:
    """All that the UNet is told beside noisy latents and timesteps, on the device."""

    words: Tensor
    """(B, T, D): what it attends to."""
    pooled: Tensor | None = None
    """(B, P): each caption as one vector; only of families that have it."""
    time_ids: Tensor | None = None
    """(B, 6), fp32: sizes and crop as numbers of pixels (`Framing`); only of families that have them."""

    def with_time_ids(self, time_ids: Tensor | None) -> Conditioning:
        return replace(self, time_ids=time_ids)


@dataclass(frozen=True)
class Framing:
    """How a picture was cut out of its original, in pixels, (height, width) and (top, left) as SDXL's paper has them."""

    original: tuple[int, int]
    """As it was found, upright."""
    crop: tuple[int, int]
    """Of the resized picture, mirrored if the example is: rows above and columns left of what is shown."""
    target: tuple[int, int]
    """What is shown."""


@dataclass(frozen=True, kw_only=True)
class BaseOptions:
    """What a job wants else than the base model says. None: as the base, else as its family."""

    clip_skip: int | None = None
    """Which of a text encoder's layers is read, counted from the last, which is 1."""
    prediction_type: str | None = None
    """`epsilon` or `v_prediction`."""
    zero_terminal_snr: bool | None = None
    max_tokens: int = ROOM
    """Tokens of a caption that are read."""


class Base(Protocol):
    """A base model: frozen networks, loaded when first asked for, and the calls that training makes of them.

    Shapes: pictures (B, height, width, 3) uint8; latents (B, C, height / factor, width / factor).
    """

    network_names: Sequence[str]
    """The networks that adapters can be put into: `unet`, `text_encoder` and, of some families, `text_encoder_2`."""
    text_encoders: Sequence[TextEncoder]
    """In the order in which their words stand side by side."""
    device: torch.device
    latent_channels: int
    factor: int
    """Pixels a side of one latent."""
    prediction_type: str
    """`epsilon` or `v_prediction`."""
    alphas_cumprod: Tensor
    """(timesteps,), fp32, on the device."""
    facts: FamilyFacts

    def network(self, name: str) -> torch.nn.Module:
        """One of `network_names`."""
        ...

    @property
    def loaded_networks(self) -> Mapping[str, torch.nn.Module]:
        """Those of `network_names` that are in memory."""
        ...

    def keep(self, names: Collection[str]) -> None:
        """Lets go of every other network that adapters can be put into; it is loaded again when it is asked for."""
        ...

    def encode_pictures(self, pictures: np.ndarray) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the posterior, unscaled, fp32, on the CPU."""
        ...

    def decode_latents(self, latents: Tensor) -> np.ndarray:
        """Pictures (B, height, width, 3) of unscaled latents, floats from 0 to 1."""
        ...

    def scaled(self, latents: Tensor) -> Tensor:
        """Latents as the UNet takes them."""
        ...

    def unscaled(self, latents: Tensor) -> Tensor:
        """The inverse of `scaled`: latents as the VAE takes them."""
        ...

    def joined(self, encoded: Sequence[Encoded]) -> Conditioning:
        """What the text encoders made of the same captions, in their order, as the UNet takes it."""
        ...

    def encode_captions(self, captions: Sequence[str]) -> Conditioning:
        """`joined` of what every text encoder makes of the captions."""
        ...

    def framed(self, conditioning: Conditioning, framings: Sequence[Framing]) -> Conditioning:
        """With the sizes and crop of each example, where the family has them."""
        ...

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """The UNet's prediction, fp32; `timesteps` (B,)."""
        ...

    def pipeline(self, sampler: SamplerName = "base") -> Any:
        """A diffusers pipeline over these very networks, for pictures; without text encoders, it takes `prompts`."""
        ...

    def prompts(self, wanted: Conditioning, unwanted: Conditioning) -> dict[str, Tensor]:
        """The arguments by which the pipeline takes prompts and negative prompts that are encoded already."""
        ...
