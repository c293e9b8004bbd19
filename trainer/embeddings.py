"""Captions as the UNet sees them: encoded once by each frozen text encoder, or in every step by one that is trained."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from trainer.cache import Cache
from trainer.families.base import Base, Conditioning
from trainer.families.text import Encoded, TextEncoder, detached_copy, stacked


class Words:
    """Conditionings of captions, on the device.

    What a frozen encoder makes of a caption is made once, of it alone, so that its numbers do not depend on its neighbours.
    `digests` are of each encoder's own files, by name; `trained` are the names of those that are trained.
    """

    def __init__(
        self, base: Base, cache: Cache, *, digests: Mapping[str, str], fingerprint: str, trained: Collection[str]
    ) -> None:
        self._base, self._cache, self._trained = base, cache, trained
        self._digests, self._fingerprint = digests, fingerprint
        self._known: dict[tuple[str, str], dict[str, Tensor]] = {}

    def prepare(
        self, captions: Iterable[str], of_the_base: Iterable[str], progress: Callable[[int, int], None]
    ) -> None:
        """Has the base encode captions ahead of training, through the cache. Call it while no adapter is in the base.

        Those `of_the_base` will be asked for as the base alone says them, though encoders are trained.
        """
        prior = set(of_the_base)
        wanted = [
            (encoder, caption)
            for encoder in self._base.text_encoders
            for caption in sorted(prior if encoder.name in self._trained else prior | set(captions))
        ]
        for done, (encoder, caption) in enumerate(wanted):
            progress(done, len(wanted))
            self._frozen(encoder, caption)
        progress(len(wanted), len(wanted))

    def of(self, captions: Sequence[str]) -> Conditioning:
        """Of these captions; differentiable where a text encoder is trained."""
        return self._base.joined(
            [
                encoder.encode(captions) if encoder.name in self._trained else self._stacked(encoder, captions)
                for encoder in self._base.text_encoders
            ]
        )

    def of_base(self, captions: Sequence[str]) -> Conditioning:
        """By the base alone: of captions that were prepared, or else while its adapters are off."""
        return self._base.joined([self._stacked(encoder, captions) for encoder in self._base.text_encoders])

    def _stacked(self, encoder: TextEncoder, captions: Sequence[str]) -> Encoded:
        return stacked([self._frozen(encoder, caption) for caption in captions])

    @torch.no_grad()
    def _frozen(self, encoder: TextEncoder, caption: str) -> dict[str, Tensor]:
        if (encoder.name, caption) not in self._known:
            key = self._cache.key(
                "words",
                caption=caption,
                encoder=self._digests[encoder.name],
                recipe=encoder.recipe,
                fingerprint=self._fingerprint,
            )
            value = self._cache.get(key)
            if value is None:
                value = detached_copy(encoder.encode([caption]), 0)
                self._cache.put(key, value)
            self._known[encoder.name, caption] = {name: value[name].to(self._base.device) for name in value}
        return self._known[encoder.name, caption]
