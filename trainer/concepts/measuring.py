"""Measures how well a frozen base denoises a dataset and the pictures that it draws itself, under the same texts.

Shapes: N pictures; latents (C, h, w), scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from trainer.concepts.evidence import Errors, Evidence, Side
from trainer.concepts.naming import Naming
from trainer.config import PreviewConfig
from trainer.denoising import Said, errors, pairs, timesteps
from trainer.families.base import Base, Framing
from trainer.previews import draw_latents

BATCH = 8
"""Pictures that are drawn together."""
_PURPOSE = "concept analysis"
_FIRST_SEED = 700
"""Of the pictures that the base draws."""


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    pictures: int
    """Of the dataset, evenly from the first to the last; and as many of the base's own."""
    pairs: int
    """(t, ε) of each picture and text: stratified timesteps, each with a noise and its opposite."""
    trial_pairs: int
    """The same where one of several names is chosen."""


FULL = Effort(pictures=16, pairs=32, trial_pairs=16)
QUICK = Effort(pictures=8, pairs=16, trial_pairs=8)
"""For a job that asks before it trains."""


@dataclass(frozen=True)
class Pictures:
    """Of the dataset, those that are measured."""

    places: tuple[int, ...]
    latents: Sequence[Tensor]
    framings: Sequence[Framing]
    keys: Sequence[str]
    """Of each: what its noises are drawn for."""


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """The base, without adapter, and how it is asked."""

    base: Base
    said: Said
    at_once: int
    """Pictures that the UNet's memory is sure to suffice for."""
    drawing: PreviewConfig
    """Steps and guidance of the pictures that the base draws."""
    side: int
    """Pixels of these."""
    progress: Callable[[str], Callable[[int, int], None]]

    def name_gains(self, pictures: Pictures, candidates: Sequence[Naming], trial_pairs: int) -> list[float]:
        """How much the error lessens with each name, a mean over the pictures; of names on trial."""
        progress, found = self.progress("looking for what the base calls it"), []
        without: dict[tuple[str, ...], Errors] = {}
        for done, candidate in enumerate(candidates):
            progress(done, len(candidates))
            if candidate.unnamed not in without:
                without[candidate.unnamed] = self._errors(pictures, candidate.unnamed, trial_pairs)
            with_it = self._errors(pictures, candidate.named, trial_pairs)
            found.append(float((without[candidate.unnamed] - with_it).mean()))
        progress(len(candidates), len(candidates))
        return found

    def drawn(self, captions: Sequence[str]) -> list[Tensor]:
        """What the base draws for each caption, (C, h, w) each, scaled, on the CPU."""
        progress, found = self.progress("drawing what the base makes of the captions"), list[Tensor]()
        together = min(BATCH, self.at_once)
        for start in range(0, len(captions), together):
            progress(start, len(captions))
            part = captions[start : start + together]
            seeds = [_FIRST_SEED + start + place for place in range(len(part))]
            found += draw_latents(self.base, self.said, part, seeds, self.drawing, self.side).unbind()
        progress(len(captions), len(captions))
        return found

    def evidence(self, pictures: Pictures, concept: Naming, own: Sequence[Tensor], count: int) -> Evidence:
        """Both sides, at `count` pairs; `own` are the pictures that were drawn for the named captions."""
        square = Framing((self.side, self.side), (0, 0), (self.side, self.side))
        drawn = Pictures(pictures.places, own, [square] * len(own), pictures.keys)
        progress = self.progress("asking the base about the concept")
        done, total = 0, (8 if concept.name else 6) * len(own)

        def told() -> None:
            nonlocal done
            progress(done, total)
            done += 1

        def measured(of: Pictures, texts: Sequence[str]) -> Errors:
            return self._errors(of, texts, count, told)

        def side(of: Pictures) -> Side:
            named, nothing = measured(of, concept.named), measured(of, [""] * len(concept.named))
            unnamed = measured(of, concept.unnamed)
            alone = measured(of, [concept.name] * len(concept.named)) if concept.name else nothing
            return Side(named=named, unnamed=unnamed, name_alone=alone, nothing=nothing)

        found = Evidence(
            naming=concept,
            places=pictures.places,
            timesteps=timesteps(len(self.base.alphas_cumprod), count // 2),
            dataset=side(pictures),
            own=side(drawn),
        )
        progress(total, total)
        return found

    def _errors(
        self, pictures: Pictures, texts: Sequence[str], count: int, before_each: Callable[[], None] = lambda: None
    ) -> Errors:
        """(N, T) of each picture under its text."""
        rows = []
        for latents, framing, key, text in zip(pictures.latents, pictures.framings, pictures.keys, texts, strict=True):
            before_each()
            measured = pairs(count, self.base, latents.shape, _PURPOSE, key)
            found = errors(self.base, self.said, latents, framing, text, measured, self.at_once)
            rows.append(found.double().view(2, -1).mean(dim=0).numpy())
        return np.stack(rows)
