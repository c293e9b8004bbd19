"""What the frozen base model says of pictures and captions, measured with the networks that training has loaded anyway.

Shapes: latents (C, h, w), scaled; noises (TIMESTEPS, C, h, w), one for each timestep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from trainer.cache import Cache
from trainer.data.dataset import Example
from trainer.data.images import RECIPE, Decoder
from trainer.data.views import View
from trainer.data_report.budget import suspected, timesteps
from trainer.data_report.facts import Judged
from trainer.data_report.words import parts_of
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
        passes: int,
        progress: Callable[[int, int], None],
    ) -> list[Judged]:
        """Of each example with its caption, in order; a caption that says nothing gains nothing and is not asked about.

        Captions that help little are asked about part by part, the least helpful first, for as many `passes` through the UNet.
        """
        found: list[Judged] = []
        asked = list(zip(examples, captions, strict=True))

        def whole(example: Example, caption: str) -> list[float]:
            posterior = posteriors[View(example.id, mirrored=False)]
            errors = self._errors(example, posterior, [caption, ""]) if caption else [0.0, 0.0]
            return [self._reconstruction_error(example, posterior), *errors]

        for done, (error, with_it, without) in enumerate(self._kept("judged", asked, whole)):
            progress(done, len(asked))
            found.append(Judged(error, gain(with_it, without) if asked[done][1] else None))
        progress(len(asked), len(asked))
        suspects = suspected([one.caption_gain for one in found], captions, passes)

        def by_parts(example: Example, caption: str) -> list[float]:
            posterior = posteriors[View(example.id, mirrored=False)]
            return self._errors(example, posterior, [caption, *(rest for _, rest in parts_of(caption))])

        for place, errors in zip(
            suspects, self._kept("parts", [asked[place] for place in suspects], by_parts), strict=True
        ):
            gains = [gain(errors[0], without) for without in errors[1:]]
            least = int(np.argmin(gains))
            part, _ = parts_of(captions[place])[least]
            found[place] = replace(found[place], worst_words=part, words_gain=gains[least])
        return found

    def _kept(
        self, kind: str, asked: Sequence[tuple[Example, str]], made: Callable[[Example, str], list[float]]
    ) -> Iterator[list[float]]:
        """The numbers of each example with its caption, from the cache or made now."""
        keys = [self._key(kind, example, caption) for example, caption in asked]
        with self.cache.writing() as writer:
            for place, (key, value) in enumerate(self.cache.get_all(keys)):
                if value is None:
                    value = {"numbers": torch.tensor(made(*asked[place]), dtype=torch.float64)}
                    writer.put(key, value)
                yield value["numbers"].tolist()

    def _key(self, kind: str, example: Example, caption: str) -> str:
        return Cache.key(
            kind,
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

    def _errors(self, example: Example, posterior: Posterior, captions: Sequence[str]) -> list[float]:
        """The base's error under each caption, from the same noises."""
        latents = self.base.scaled(posterior.mean)
        framing = Framing(
            original=(example.height, example.width),
            crop=(example.crops[0][1], example.crops[0][0]),
            target=(example.bucket.height, example.bucket.width),
        )
        eps = generator(0, _PURPOSE, example.sha256).standard_normal((TIMESTEPS, *latents.shape), dtype=np.float32)
        return [self._error(latents, torch.from_numpy(eps), caption, framing) for caption in captions]

    @torch.no_grad()
    def _error(self, latents: Tensor, eps: Tensor, caption: str, framing: Framing) -> float:
        """Mean squared error of the prediction over TIMESTEPS, each with the noise and its opposite, whose errors of first order
        cancel: the same pairs for every caption, so that differences are far less noisy than values (Clark & Jaini, NeurIPS
        2023).
        """
        base = self.base
        times = torch.tensor(timesteps(len(base.alphas_cumprod), TIMESTEPS)).repeat(2)
        noises = torch.cat([eps, -eps])
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
