"""What the frozen base model says of pictures and captions, measured with the networks that training has loaded anyway."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from trainer.cache import Cache
from trainer.data.dataset import Example
from trainer.data.images import RECIPE, Decoder
from trainer.data.views import View
from trainer.data_report.alternatives import Alternative, Alternatives
from trainer.data_report.budget import PASSES_OF_A_TEXT, passes_of_parts, suspected
from trainer.data_report.facts import Judged
from trainer.data_report.words import parts_of
from trainer.denoising import errors, pairs
from trainer.embeddings import Words
from trainer.families.base import Base, Framing
from trainer.latents import Posterior

TIMESTEPS = 8
SAYS_LITTLE = 0.1
"""Gain of a part of a caption below which it is held against what other captions say in its place."""
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

        Captions that help little are asked about part by part, the least helpful first, for as many `passes` through the UNet;
        parts that help little are then held against what other captions say in their place.
        """
        found: list[Judged] = []
        asked = list(zip(examples, captions, strict=True))

        def errors_of(example: Example, texts: Sequence[str]) -> list[float]:
            return self._errors(example, posteriors[View(example.id, mirrored=False)], texts)

        def whole(example: Example, caption: str) -> list[float]:
            posterior = posteriors[View(example.id, mirrored=False)]
            both = self._errors(example, posterior, [caption, ""]) if caption else [0.0, 0.0]
            return [self._reconstruction_error(example, posterior), *both]

        for done, (error, with_it, without) in enumerate(self._kept("judged", asked, whole)):
            progress(done, len(asked))
            found.append(Judged(error, gain(with_it, without) if asked[done][1] else None))
        progress(len(asked), len(asked))
        suspects = suspected([one.caption_gain for one in found], captions, passes)
        passes -= sum(passes_of_parts(captions[place]) for place in suspects)

        def by_parts(example: Example, caption: str) -> list[float]:
            return errors_of(example, [caption, *(rest for _, rest in parts_of(caption))])

        doubts: dict[int, list[str]] = {}
        for place, (with_it, *others) in zip(
            suspects, self._kept("parts", [asked[place] for place in suspects], by_parts), strict=True
        ):
            parts = [part for part, _ in parts_of(captions[place])]
            gains = [gain(with_it, without) for without in others]
            least = int(np.argmin(gains))
            found[place] = replace(found[place], worst_words=parts[least], words_gain=gains[least])
            doubts[place] = [part for part, value in zip(parts, gains, strict=True) if value < SAYS_LITTLE]

        others_say = Alternatives(captions)
        for place in suspects:
            choices = [
                one for one in others_say.of(captions[place]) if any(one.words in part for part in doubts[place])
            ]
            passes -= PASSES_OF_A_TEXT * (1 + len(choices))
            if choices and passes >= 0:
                texts = [captions[place], *(one.caption for one in choices)]
                numbers = self._errors_kept(*asked[place], texts, errors_of)
                found[place] = _with_the_best(found[place], choices, numbers)
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

    def _errors_kept(
        self,
        example: Example,
        caption: str,
        texts: Sequence[str],
        made: Callable[[Example, Sequence[str]], list[float]],
    ) -> list[float]:
        """The errors of a picture under texts, from the cache or made now."""
        key = self._key("alternatives", example, caption, texts=list(texts))
        value = self.cache.get(key)
        if value is None:
            value = {"numbers": torch.tensor(made(example, texts), dtype=torch.float64)}
            self.cache.put(key, value)
        found: list[float] = value["numbers"].tolist()
        return found

    def _key(self, kind: str, example: Example, caption: str, **what: object) -> str:
        return Cache.key(
            kind,
            **what,
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
        measured = pairs(2 * TIMESTEPS, self.base, latents.shape, _PURPOSE, example.sha256)

        def error(caption: str) -> float:
            found = errors(self.base, self.words.of_base, latents, framing, caption, measured, self.at_once)
            return float(found.sum()) / len(measured)

        return [error(caption) for caption in captions]


def _with_the_best(judged: Judged, choices: Sequence[Alternative], errors_found: Sequence[float]) -> Judged:
    """With the alternative that fits best, if one fits better than the caption, whose error comes first."""
    own, *others = errors_found
    best = int(np.argmin(others))
    if others[best] >= own:
        return judged
    return replace(
        judged,
        worst_words=choices[best].words,
        words_gain=judged.words_gain if choices[best].words == judged.worst_words else None,
        instead=choices[best].instead,
        instead_gain=gain(others[best], own),
    )


def gain(with_caption: float, without: float) -> float:
    """How much smaller the error is with the caption, relative to that without."""
    return (without - with_caption) / without if without > 0 else 0.0
