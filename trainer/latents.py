"""The dataset's pictures as latents: encoded once by the frozen VAE, mean and log-variance kept.

Each visit samples the posterior afresh, as training on pixels would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.cache import Cache
from trainer.data.dataset import Example
from trainer.data.images import RECIPE, Decoder
from trainer.families.base import Base


@dataclass(frozen=True)
class Posterior:
    """What the VAE says of one picture: (C, h, w) each, unscaled, on the CPU."""

    mean: Tensor
    logvar: Tensor

    def sample(self, eps: np.ndarray) -> Tensor:
        """A latent; `eps` is standard normal, of the same shape."""
        return self.mean + torch.exp(0.5 * self.logvar) * torch.from_numpy(eps)


def encode_examples(
    examples: Sequence[Example],
    base: Base,
    decoder: Decoder,
    cache: Cache,
    *,
    vae_digest: str,
    fingerprint: str,
    mirrored: bool,
    progress: Callable[[int, int], None],
) -> dict[tuple[str, bool], Posterior]:
    """The posterior of each example as it is and, if asked, mirrored left to right; by (example id, is mirrored)."""
    posteriors: dict[tuple[str, bool], Posterior] = {}
    wanted = [(example, mirror) for example in examples for mirror in ((False, True) if mirrored else (False,))]
    for done, (example, mirror) in enumerate(wanted):
        progress(done, len(wanted))
        key = cache.key(
            "latents",
            image=example.sha256,
            resize=example.resize,
            crop=example.crop,
            mirror=mirror,
            recipe=RECIPE,
            vae=vae_digest,
            fingerprint=fingerprint,
        )
        value = cache.get(key)
        if value is None:
            pixels = decoder.pixels(example.file, example.resize, example.crop, name=example.path)
            pixels = pixels[:, ::-1] if mirror else pixels
            mean, logvar = base.encode_pictures(np.ascontiguousarray(pixels)[None])
            value = {"mean": mean[0], "logvar": logvar[0]}
            cache.put(key, value)
        posteriors[example.id, mirror] = Posterior(value["mean"], value["logvar"])
    progress(len(wanted), len(wanted))
    return posteriors
