"""What differs between families of Stable Diffusion, behind one interface. A new family is one file and one registry line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor


class Base(Protocol):
    """A loaded base model: frozen networks, and the calls that training makes of them.

    Shapes: pictures (B, height, width, 3) uint8; latents (B, C, height / factor, width / factor); words (B, T, D).
    """

    unet: Any
    text_encoder: Any
    latent_channels: int
    factor: int
    """Pixels a side of one latent."""
    max_tokens: int
    prediction_type: str
    """`epsilon` or `v_prediction`."""
    alphas_cumprod: Tensor
    """(timesteps,), fp32, on the device."""
    architecture: str
    """`modelspec.architecture` of adapters for this family."""

    @property
    def networks(self) -> Mapping[str, torch.nn.Module]:
        """The networks that adapters can be put into: `unet`, `text_encoder`."""
        ...

    def encode_pictures(self, pictures: np.ndarray) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the posterior, unscaled, fp32, on the CPU."""
        ...

    def scaled(self, latents: Tensor) -> Tensor:
        """Latents as the UNet takes them."""
        ...

    def count_tokens(self, caption: str) -> int:
        """Tokens of a caption, without its start and end."""
        ...

    def encode_captions(self, captions: Sequence[str]) -> Tensor:
        """What the UNet attends to, on the device."""
        ...

    def predict(self, noisy: Tensor, timesteps: Tensor, words: Tensor) -> Tensor:
        """The UNet's prediction, fp32; `timesteps` (B,)."""
        ...

    def pipeline(self) -> Any:
        """A diffusers pipeline over these very networks, for pictures."""
        ...
