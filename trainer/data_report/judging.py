"""What the frozen base model says of pictures and captions, measured with the networks that training has loaded anyway.

Shapes: latents (C, h, w), scaled; B of one pass; K noises with their opposites times timesteps of one picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainer.cache import Cache
from trainer.data.dataset import Example
from trainer.data.images import RECIPE, Decoder
from trainer.data.views import View
from trainer.data_report.budget import timesteps
from trainer.draws import generator
from trainer.embeddings import Words
from trainer.families.base import Base, Conditioning, Framing
from trainer.latents import Posterior
from trainer.losses import squared_error
from trainer.noise import add_noise, target

TIMESTEPS = 8
MEASURES = 1
"""Counts up when a measure changes, so that none of another version is taken from the cache."""
_PURPOSE = "data report"


@dataclass(frozen=True)
class Judged:
    """What the base says of one picture; None where nothing was asked."""

    reconstruction_error: float
    caption_gain: float | None


@dataclass(frozen=True, kw_only=True)
class Judge:
    """The base, without adapter, and what to ask it with."""

    base: Base
    words: Words
    decoder: Decoder
    cache: Cache
    base_digest: str
    fingerprint: str
    at_once: int
    """Pictures of a batch of training: what memory is sure to suffice for."""

    def judged(
        self,
        examples: Sequence[Example],
        captions: Sequence[str],
        posteriors: Mapping[View, Posterior],
        progress: Callable[[int, int], None],
    ) -> list[Judged]:
        """Of each example with its caption, in order; a caption that says nothing gains nothing and is not asked about."""
        keys = [self._key(example, caption) for example, caption in zip(examples, captions, strict=True)]
        found: list[Judged] = []
        with self.cache.writing() as writer:
            for done, (key, value) in enumerate(self.cache.get_all(keys)):
                progress(done, len(examples))
                example, caption = examples[done], captions[done]
                if value is None:
                    posterior = posteriors[View(example.id, mirrored=False)]
                    gain = self._gain(example, caption, posterior) if caption else np.nan
                    numbers = [self._reconstruction_error(example, posterior), gain]
                    value = {"numbers": torch.tensor(numbers, dtype=torch.float64)}
                    writer.put(key, value)
                error, gain = value["numbers"].tolist()
                found.append(Judged(error, gain if caption else None))
        progress(len(examples), len(examples))
        return found

    def _key(self, example: Example, caption: str) -> str:
        return Cache.key(
            "judged",
            image=example.sha256,
            resize=example.resize,
            crop=example.crops[0],
            background=example.background,
            recipe=RECIPE,
            caption=caption,
            base=self.base_digest,
            fingerprint=self.fingerprint,
            prediction=self.base.prediction_type,
            encoders=[encoder.recipe for encoder in self.base.text_encoders],
            measures=MEASURES,
        )

    def _reconstruction_error(self, example: Example, posterior: Posterior) -> float:
        """Root mean square error after encoding and decoding, of a range of 0 to 1."""
        background = example.background or "#ffffff"
        pixels = self.decoder.pixels(
            example.file, example.resize, example.crops[0], background=background, name=example.path
        )
        back = self.base.decode_latents(posterior.mean[None])[0]
        return float(np.sqrt(np.square(back - pixels.astype(np.float32) / 255).mean()))

    def _gain(self, example: Example, caption: str, posterior: Posterior) -> float:
        latents = self.base.scaled(posterior.mean)
        framing = Framing(
            original=(example.height, example.width),
            crop=(example.crops[0][1], example.crops[0][0]),
            target=(example.bucket.height, example.bucket.width),
        )
        eps = generator(0, _PURPOSE, example.sha256).standard_normal(tuple(latents.shape), dtype=np.float32)
        with_it, without = (self._error(latents, torch.from_numpy(eps), one, framing) for one in (caption, ""))
        return gain(with_it, without)

    @torch.no_grad()
    def _error(self, latents: Tensor, eps: Tensor, caption: str, framing: Framing) -> float:
        """Mean squared error of the prediction over TIMESTEPS, each with the noise and its opposite, whose errors of first order
        cancel: the same pairs for every caption, so that differences are far less noisy than values (Clark & Jaini, NeurIPS
        2023).
        """
        base = self.base
        times = torch.tensor(timesteps(len(base.alphas_cumprod), TIMESTEPS)).repeat(2)
        noises = torch.stack([eps] * TIMESTEPS + [-eps] * TIMESTEPS)
        errors = 0.0
        for start in range(0, len(times), self.at_once):
            t = times[start : start + self.at_once].to(base.device)
            noise = noises[start : start + self.at_once].to(base.device)
            x0 = latents.to(base.device).expand_as(noise)
            abar = base.alphas_cumprod[t]
            said: Conditioning = base.framed(self.words.of_base([caption] * len(t)), [framing] * len(t))
            prediction = base.predict(add_noise(x0, noise, abar), t, said)
            errors += float(squared_error(prediction, target(base.prediction_type, x0, noise, abar)).sum())
        return errors / len(times)


def gain(with_caption: float, without: float) -> float:
    """How much smaller the error is with the caption, relative to that without."""
    return (without - with_caption) / without if without > 0 else 0.0
